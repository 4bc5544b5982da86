"""How an index is dropped: the statement, its lock, and the way back."""

from __future__ import annotations

from filban.finding import Fix
from filban.index.upkeep.rows import Index


def drop(index: Index, definition: str | None, caution: str = "") -> Fix:
    """DROP INDEX, without blocking where PostgreSQL can. definition: what would create it again."""
    back = f"To have it back: {definition}" if definition else ""
    if index.is_partitioned:
        # DROP INDEX CONCURRENTLY refuses partitioned indexes (PostgreSQL 14 to 18)
        return Fix(
            sql=f"DROP INDEX {index.quoted};",
            lock="ACCESS EXCLUSIVE",
            caution=_sentences(
                caution,
                "It takes the lock on the table and all its partitions: set lock_timeout first.",
                back,
            ),
        )
    return Fix(
        sql=f"DROP INDEX CONCURRENTLY {index.quoted};",
        lock="SHARE UPDATE EXCLUSIVE",
        caution=_sentences(
            caution, "Not inside a transaction; it waits for open transactions to end.", back
        ),
    )


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)
