"""What proving and restoring ask of a repository, whichever engine fills it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from filban.backup.verify.stored import Source


@dataclass(frozen=True, slots=True)
class Stored:
    """One physical base backup.

    LSNs are integers: WAL from `start_lsn` on is needed, at `end_lsn` it is consistent. `chain`:
    labels from the full backup to this one, which is the last. Times are aware.
    """

    label: str
    timeline: int
    start_lsn: int
    end_lsn: int
    started_at: datetime
    finished_at: datetime
    system_identifier: int
    major: int
    bytes: int
    chain: tuple[str, ...] = ()
    superuser: str = "postgres"
    checksums: dict[str, str] = field(default_factory=dict)


class Shelf(Protocol):
    """A repository, read. `name` is what a person calls it."""

    @property
    def name(self) -> str: ...

    async def backups(self) -> Sequence[Stored]:
        """Every finished physical backup, the oldest first."""
        ...

    async def labels(self) -> Sequence[str]:
        """Every backup that has begun to be there, whole or not."""
        ...

    def contents(self, label: str) -> Source:
        """The objects of one backup, backup_manifest among them."""
        ...

    def wal(self) -> Source:
        """The archived WAL: segments and history files."""
        ...

    def restore_command(self) -> str:
        """What the recovering server runs to get %f into %p."""
        ...

    async def drills(self) -> Sequence[Mapping[str, Any]]:
        """What `note_drill` was given, the oldest first."""
        ...

    async def note_drill(self, record: Mapping[str, Any]) -> None:
        """Remember a drill: `at` (ISO time), `backup`, `passed`, `rto_seconds` and the rates."""
        ...

    async def fetch_wal(self, name: str, into: Path) -> None:
        """One segment, decompressed, as the server user's file. Raises NotGood if it is missing."""
        ...
