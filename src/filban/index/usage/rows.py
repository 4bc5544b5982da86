"""What the queries about the use of indexes return, and what all servers together say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from filban.finding import Finding
from filban.index.upkeep.rows import Index
from filban.pg.check import Hidden


@dataclass(frozen=True, slots=True)
class Use:
    """Of one index on one server, since its counters began. last_scan: None before 16, or never."""

    oid: int
    scans: int
    last_scan: datetime | None
    tuples_read: int
    tuples_fetched: int
    blocks_hit: int
    blocks_read: int


@dataclass(frozen=True, slots=True)
class Standbys:
    streaming: int


@dataclass(frozen=True, slots=True)
class Counted:
    """One server's counters. since: None where it does not say."""

    address: str
    role: str
    window_seconds: float | None
    since: str | None
    uses: Mapping[int, Use]


@dataclass(frozen=True, slots=True)
class Used:
    """One index with its uses, in the order of the servers; codes: what was found about it."""

    index: Index
    uses: tuple[Use, ...]
    codes: tuple[str, ...]

    @property
    def scans(self) -> int:
        return sum(use.scans for use in self.uses)

    @property
    def last_scan(self) -> datetime | None:
        return max((u.last_scan for u in self.uses if u.last_scan is not None), default=None)


@dataclass(frozen=True, slots=True)
class Survey:
    """All indexes of a database, the largest first, as all given servers of the cluster use them.

    uncounted: how many standbys stream from the primary and were not among them.
    """

    subject: str
    servers: tuple[Counted, ...]
    uncounted: int
    indexes: tuple[Used, ...]
    findings: tuple[Finding, ...]
    hidden: tuple[Hidden, ...]


QUERIES: Mapping[str, type] = {"uses": Use, "standbys": Standbys}
