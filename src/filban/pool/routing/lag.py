"""How far a replica is behind, in bytes and seconds, from the primary's own positions over time.

Not from `now() - pg_last_xact_replay_timestamp()`: that grows on an idle primary and trusts two
clocks. We remember when the primary was where; the moment at which it left the position that a
replica has replayed is the moment since which the replica misses something. One clock: ours.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

# At four probes a second this is 17 minutes in full; older ones are kept at half the density.
MOST_SAMPLES = 4096


@dataclass(frozen=True, slots=True)
class Lag:
    """bytes: what the primary has flushed and the replica not replayed. seconds: 0 when there is
    none; else how long ago the primary left the replayed position, at most. None: not known."""

    bytes: int | None
    seconds: float | None


class PrimaryTrack:
    """When the primary's flushed LSN was where, on one timeline. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._times: list[float] = []  # the last moment at which it is known to have been there
        self._lsns: list[int] = []  # strictly growing
        self._first = 0.0  # when we began to look

    @property
    def lsn(self) -> int | None:
        """The newest known."""
        return self._lsns[-1] if self._lsns else None

    def add(self, at: float, lsn: int) -> None:
        """`at`: when the question was sent, so that at that moment the LSN was at most `lsn`."""
        if self._lsns and lsn < self._lsns[-1]:
            return  # an answer that was overtaken
        if self._lsns and lsn == self._lsns[-1]:
            self._times[-1] = max(at, self._times[-1])
            return
        self._first = self._first if self._lsns else at
        self._times.append(at)
        self._lsns.append(lsn)
        if len(self._lsns) > MOST_SAMPLES:
            half = MOST_SAMPLES // 2
            del self._times[:half:2], self._lsns[:half:2]

    def complete_at(self, lsn: int) -> float | None:
        """The latest moment whose every write a server that has replayed `lsn` has. None: none."""
        index = bisect_right(self._lsns, lsn)
        return self._times[index - 1] if index else None

    def lag(self, replayed: int, now: float) -> Lag:
        if not self._lsns:
            return Lag(None, None)
        behind = max(0, self._lsns[-1] - replayed)
        if not behind:
            return Lag(0, 0.0)
        since = self.complete_at(replayed)
        # Behind for longer than we remember: at least that long.
        return Lag(behind, max(0.0, now - (self._first if since is None else since)))
