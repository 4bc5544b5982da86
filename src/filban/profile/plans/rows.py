"""What the queries of this package return."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TableRow:
    """One table. rows: live ones as the server counts them; modified: since the last ANALYZE;
    texts: columns that hold texts."""

    schema: str
    name: str
    analysed: bool
    rows: int
    modified: int
    texts: list[str]


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """work_mem in kB; hash_mem_multiplier: times work_mem for hashes."""

    work_mem_kb: int
    hash_mem_multiplier: float


@dataclass(frozen=True, slots=True)
class StatisticsRow:
    """One CREATE STATISTICS. statistics: its quoted name; kinds: "mcv", "dependencies" …"""

    schema: str
    name: str
    statistics: str
    columns: list[str]
    kinds: list[str]


QUERIES: dict[str, type] = {
    "table_facts": TableRow,
    "memory_settings": MemoryRow,
    "extended_statistics": StatisticsRow,
}
