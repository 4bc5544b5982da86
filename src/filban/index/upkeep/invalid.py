"""Indexes that a build or a drop has left half-done. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from filban.finding import Finding, Fix, Quantity, Severity
from filban.index.upkeep.evidence import clause, counted
from filban.index.upkeep.removal import drop
from filban.index.upkeep.rows import Index

# REINDEX CONCURRENTLY's transient names; a number follows where the name was taken.
_TRANSIENT = re.compile(r"_cc(new|old)\d*$")


def invalid(indexes: Iterable[Index]) -> list[Index]:
    """Those that are invalid and that nobody builds or drops now."""
    return [i for i in indexes if not (i.is_valid and i.is_live) and not i.busy]


def to_drop(index: Index) -> bool:
    """Whether it is of no more use: half dropped, or the spare copy of a failed rebuild."""
    return not index.is_live or (_transient(index) and not index.has_constraint)


def findings(
    found: Iterable[Index], completions: Mapping[int, tuple[str, ...]]
) -> Iterator[Finding]:
    """index.invalid, one an index.

    completions: for a partitioned index, the statements that build and attach what it lacks.
    """
    for index in found:
        yield Finding(
            code="index.invalid",
            severity=Severity.warning,
            subject=index.name,
            title=_title(index) + clause(index.size_bytes, "that no query may use"),
            why=_why(index),
            evidence={
                "table": Quantity(index.table_name),
                "size": counted(index.size_bytes),
                "written_by_every_change": Quantity(index.is_maintained),
                "unique": Quantity(index.is_unique),
            },
            fix=_fix(index, completions.get(index.oid, ())),
        )


def _transient(index: Index) -> bool:
    return _TRANSIENT.search(index.name) is not None


def _title(index: Index) -> str:
    if index.is_partitioned:
        return "A partitioned index that some partitions lack"
    if _transient(index):
        return "What a failed REINDEX CONCURRENTLY has left"
    return "A half-dropped index" if not index.is_live else "A half-built index"


def _why(index: Index) -> str:
    if index.is_partitioned:
        return "It was made ON ONLY the parent: queries on partitions without it scan them whole."
    upkeep = "Every write keeps it up" if index.is_maintained else "It takes up disk"
    return f"{upkeep}, and the planner ignores it: the queries that it was made for are still slow."


def _fix(index: Index, completion: tuple[str, ...]) -> Fix:
    if index.is_partitioned:
        return _complete(index, completion)
    if to_drop(index):
        return drop(index, None)
    if index.is_exclusion:
        return Fix(
            sql=f"REINDEX INDEX {index.quoted};",
            lock="ACCESS EXCLUSIVE",
            caution="An exclusion constraint's index cannot be rebuilt CONCURRENTLY.",
        )
    return Fix(
        sql=f"REINDEX INDEX CONCURRENTLY {index.quoted};",
        lock="SHARE UPDATE EXCLUSIVE",
        caution=_caution(index),
    )


def _caution(index: Index) -> str:
    unwanted = f"Not wanted any more? DROP INDEX CONCURRENTLY {index.quoted};"
    if not index.is_unique:
        return f"Reads the table twice; not inside a transaction. {unwanted}"
    return (
        "Fails again while the table holds duplicates: remove them first. Not inside a "
        f"transaction. {unwanted}"
    )


def _complete(index: Index, completion: tuple[str, ...]) -> Fix:
    if not completion:
        return Fix(
            advice="Build the index on each partition that lacks it, CONCURRENTLY, and attach it "
            "(ALTER INDEX … ATTACH PARTITION); the last one makes this one valid."
        )
    return Fix(
        sql="\n".join(completion),
        lock="SHARE UPDATE EXCLUSIVE",
        caution="Builds one partition after the other; not inside a transaction. Not wanted? "
        f"DROP INDEX {index.quoted};",
    )
