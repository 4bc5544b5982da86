"""What `filban advise` is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from filban.flows.prove import Limits


@dataclass(frozen=True, slots=True)
class AdviseOptions:
    """prove: clone the server and execute. budget_bytes: of all new indexes together; None: no
    limit. why_not: a CREATE INDEX of one's own to be judged. logs, files: more statements (a log
    brings real parameters); counters: whether pg_stat_statements is read."""

    prove: bool = False
    budget_bytes: int | None = None
    why_not: str | None = None
    logs: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    counters: bool = True
    limits: Limits = field(default_factory=Limits)
