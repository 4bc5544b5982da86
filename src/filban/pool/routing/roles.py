"""Who is the primary, and who must not be believed: pure, from positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from filban.pool.routing.rows import Position
from filban.pool.routing.tokens import Standing, Token, standing

Key = TypeVar("Key")


@dataclass(slots=True)
class Generations:
    """The system that is served and the newest timeline that has been heard of in it.

    A promotion begins a timeline. A server below the newest one is a primary that does not know
    that it was replaced, or a standby that follows it: what is written there will be lost. SELECT 1
    passes on both.
    """

    system: int | None = None
    newest: int = 0
    ends: dict[int, int] = field(default_factory=dict)
    exact_for: int = 1  # timeline 1 has no history
    hidden_for: int = 0

    def hear(self, system: int, timeline: int | None) -> bool:
        """Learn that this timeline exists. True if it is a new one."""
        if self.system is None:
            self.system = system
        if system != self.system or timeline is None or timeline <= self.newest:
            return False
        self.newest = timeline
        return True

    def admits(self, position: Position) -> bool:
        """Whether a server there is of our system and not of an older generation."""
        if self.system is not None and position.system != self.system:
            return False
        return position.timeline is None or position.timeline >= self.newest

    def kept(self, timeline: int, lsn: int) -> None:
        """A standby had replayed so much of `timeline` before it was promoted."""
        self.ends[timeline] = max(lsn, self.ends.get(timeline, 0))

    def history(self, timeline: int, ends: Mapping[int, int]) -> None:
        """The history file of `timeline` was read."""
        self.ends, self.exact_for = dict(ends), timeline

    def history_hidden(self, timeline: int) -> None:
        """This role may not read it: what was seen before the promotion has to do."""
        self.hidden_for = timeline

    def standing(self, token: Token, position: Position) -> Standing:
        return standing(
            token,
            position.system,
            position.timeline,
            position.lsn,
            self.ends,
            exact=self.exact_for == position.timeline,
            next_xid=position.next_xid,
        )


def primary_of(
    positions: Sequence[tuple[Key, Position]], generations: Generations, current: Key | None
) -> Key | None:
    """Who takes writes: admitted, not in recovery, on the highest timeline. Of two that claim the
    same one (copies that were never told apart) the one that we already use."""
    able = [
        (key, position)
        for key, position in positions
        if not position.in_recovery and generations.admits(position)
    ]
    if not able:
        return None
    top = max(position.timeline or 0 for _, position in able)
    claimants = [key for key, position in able if (position.timeline or 0) == top]
    return current if current in claimants else claimants[0]
