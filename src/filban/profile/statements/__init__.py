"""`filban queries`: pg_stat_statements as deltas, kept without ever resetting it.

    async with session(dsn) as opened:
        before = await take(opened)
        ...
        after = await take(opened)
    delta(before, after).entries        what was called in between

`collect` (server -> rows) -> `deltas` (two snapshots -> what happened in between).
"""

from filban.profile.statements.collect import names, take, texts
from filban.profile.statements.deltas import by_statement, delta, together
from filban.profile.statements.rows import Counts, Delta, Key, Snapshot

__all__ = [
    "Counts",
    "Delta",
    "Key",
    "Snapshot",
    "by_statement",
    "delta",
    "names",
    "take",
    "texts",
    "together",
]
