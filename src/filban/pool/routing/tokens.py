"""What a write leaves behind for later reads: a position in one timeline of one system.

A token is (system identifier, timeline, LSN, transaction id). The LSN alone is not enough: after a
failover the same number means other bytes. And a standby may have replayed a commit that it does
not show: while a COMMIT waits for a synchronous standby its transaction counts as running, and a
standby that starts from a base backup made meanwhile is told so, past the commit record; it shows
the transaction after the next one. LSNs are byte positions (int); texts are PostgreSQL's `X/Y`.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from filban.errors import UsageError
from filban.pg.lsn import parse_lsn

# XLogPageHeaderData and XLogLongPageHeaderData, aligned to 8 bytes (access/xlog_internal.h).
SHORT_HEADER_BYTES = 24
LONG_HEADER_BYTES = 40
# A write happened, nobody can say where: no server but the primary can be known to have it.
UNKNOWN_LSN = 2**64 - 1
_SIGNATURE_BYTES = 16  # 128 bits of HMAC-SHA256: a truncation that RFC 2104 allows
_SHORTEST_KEY = 16


def end_of_record(insert_lsn: int, block_bytes: int, segment_bytes: int) -> int:
    """Where the last inserted record ends, from pg_current_wal_insert_lsn().

    At a page boundary that function points past the header of a page that does not exist yet: an
    idle primary never sends those bytes, and a standby never reports them as replayed.
    """
    header = LONG_HEADER_BYTES if insert_lsn % segment_bytes < block_bytes else SHORT_HEADER_BYTES
    return insert_lsn - header if insert_lsn % block_bytes == header else insert_lsn


@dataclass(frozen=True, slots=True)
class Token:
    """Everything up to `lsn` of `timeline` in this system has been written by whoever holds it, in
    transactions with ids below `next_xid`."""

    system: int
    timeline: int
    lsn: int
    next_xid: int = 0

    def __str__(self) -> str:
        return f"{self.system:x}.{self.timeline:x}.{self.lsn:x}.{self.next_xid:x}"

    @classmethod
    def parse(cls, text: str) -> Token:
        """Raises UsageError for what `str` has not made."""
        try:
            system, timeline, lsn, next_xid = (int(part, 16) for part in text.split("."))
        except ValueError as error:
            raise UsageError(
                "this is not a read-your-writes token", hint="pass on str(token) unchanged"
            ) from error
        return cls(system, timeline, lsn, next_xid)

    def shown_at(self, lsn: int | None, next_xid: int) -> bool:
        """Whether a server at that position of the same history shows what was written."""
        return (lsn or 0) >= self.lsn and next_xid >= self.next_xid


def newest(first: Token | None, second: Token | None) -> Token | None:
    """One token for what both stand for.

    A later timeline has all that survived of an earlier one. Of two systems the second counts.
    """
    if first is None or second is None:
        return first or second
    if first.system != second.system:
        return second
    if first.timeline != second.timeline:
        return max(first, second, key=lambda token: token.timeline)
    lsn, next_xid = max(first.lsn, second.lsn), max(first.next_xid, second.next_xid)
    return Token(first.system, first.timeline, lsn, next_xid)


class Standing(Enum):
    """What a server can say to a token."""

    SEEN = "it has replayed the write"
    BEHIND = "it has not yet"
    LOST = "the write is not part of its timeline, and never will be"
    UNSURE = "it cannot be told"
    OUTDATED = "the write is of a later timeline than the server"


def standing(
    token: Token,
    system: int | None,
    timeline: int | None,
    replayed: int | None,
    ends: Mapping[int, int],
    exact: bool,
    next_xid: int = 0,
) -> Standing:
    """How a server at `replayed` on `timeline` that shows transactions below `next_xid` stands to a
    token.

    ends: for earlier timelines of this server's history, the LSN up to which they are part of it;
    not `exact`: at least up to which.
    """
    if token.system != system or timeline is None or replayed is None:
        return Standing.UNSURE
    if token.timeline > timeline:
        return Standing.OUTDATED
    if token.timeline < timeline:
        end = ends.get(token.timeline)
        if end is None or token.lsn > end:
            return Standing.LOST if exact else Standing.UNSURE
    if token.lsn == UNKNOWN_LSN:
        return Standing.UNSURE
    return Standing.SEEN if token.shown_at(replayed, next_xid) else Standing.BEHIND


def parse_history(content: str | None) -> dict[int, int]:
    """A timeline history file: timeline -> the LSN at which the next one forked off."""
    ends: dict[int, int] = {}
    for line in (content or "").splitlines():
        fields = line.split()
        if len(fields) >= 2 and not line.lstrip().startswith("#"):
            ends[int(fields[0])] = parse_lsn(fields[1])
    return ends


class Signer:
    """Tokens as they travel through a client: signed, so that nobody makes one up, and dated.

    key: at least 16 bytes, the same in all processes of the service. A forged token could send all
    of a client's reads to the primary, or make the service believe in a timeline that is none.
    """

    def __init__(self, key: str | bytes, *, max_age_seconds: float) -> None:
        self._key = key.encode() if isinstance(key, str) else key
        if len(self._key) < _SHORTEST_KEY:
            raise UsageError(
                f"the signing key has {len(self._key)} bytes",
                hint=f"give at least {_SHORTEST_KEY} random ones: secrets.token_hex(32)",
            )
        self.max_age_seconds = max_age_seconds

    def sign(self, token: Token) -> str:
        """ASCII, safe in a cookie and in a header."""
        body = f"{token}.{int(time.time()):x}"
        return f"{body}.{self._signature(body)}"

    def read(self, text: str) -> Token | None:
        """The token; None for one that is forged, cut short or too old to matter."""
        body, _, signature = text.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            return None
        token, _, issued = body.rpartition(".")
        if time.time() - int(issued, 16) > self.max_age_seconds:
            return None
        return Token.parse(token)

    def _signature(self, body: str) -> str:
        digest = hmac.new(self._key, body.encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).rstrip(b"=").decode()


__all__ = [
    "UNKNOWN_LSN",
    "Signer",
    "Standing",
    "Token",
    "end_of_record",
    "newest",
    "parse_history",
    "standing",
]
