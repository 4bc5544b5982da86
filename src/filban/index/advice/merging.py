"""Candidates that come from elsewhere than one access: foreign keys, and merged ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from filban.index.advice.access import Access
from filban.index.advice.rows import Candidate, IndexSpec, Key, Refused
from filban.index.advice.specs import name_of
from filban.index.advice.worth import Judge
from filban.index.upkeep.foreign_keys import unsupported
from filban.index.upkeep.rows import ForeignKey

# Merged candidates a table: pairs grow with the square, and the first of them are the likeliest.
MOST_MERGED = 20
_MOST_INCLUDED = 6


def foreign_keys(judge: Judge, accesses: Iterable[Access]) -> Iterator[Candidate | Refused]:
    """An index for each foreign key whose referenced rows are deleted: every DELETE there reads the
    whole referring table, in a trigger that no plan shows."""
    deleted: dict[str, dict[str, float]] = {}
    for access in accesses:
        if access.writes == "Delete":
            rows = access.rows * judge.calls.get(access.statement, 0.0)
            deleted.setdefault(access.table.quoted, {})[access.statement] = rows
    indexes = [e.index for on_table in judge.existing.values() for e in on_table]
    referenced = {f"{t.schema}.{t.name}": t.quoted for t in judge.catalog.names.tables.values()}
    for missing in unsupported(list(judge.catalog.foreign_keys), indexes):
        by = deleted.get(referenced.get(missing.first.referenced_name, ""), {})
        if by or missing.first.referenced_deletes:
            yield _foreign_key(judge, missing.first, by)


def _foreign_key(judge: Judge, key: ForeignKey, by: dict[str, float]) -> Candidate | Refused:
    """Judged by the deletes of the workload, or by those that the server has counted."""
    table = judge.catalog.names.tables[key.table_oid]
    columns = [judge.catalog.numbered(key.table_oid, number) for number in key.columns]
    keys = tuple(Key(c.quoted) for c in columns if c is not None)
    spec = IndexSpec(table.schema_quoted, table.name_quoted, keys)
    verdict = judge.looked_up(spec, table, sum(by.values()) or float(key.referenced_deletes))
    reason = f"each row deleted of {key.referenced_name} is looked for here ({key.name})"
    if verdict.code is not None:
        return Refused(spec, tuple(by), verdict.code, verdict.reason, verdict.numbers)
    return Candidate(spec, "fk", tuple(by), reason, verdict.replaces, verdict.numbers)


def merged(candidates: list[Candidate]) -> Iterator[Candidate]:
    """What two candidates of a table would be as one, where that is a third."""
    known = {one.spec for one in candidates}
    by_table: dict[str, list[Candidate]] = {}
    for one in candidates:
        by_table.setdefault(one.spec.on, []).append(one)
    for on_table in by_table.values():
        fresh: dict[IndexSpec, Candidate] = {}
        for first, second in combinations(on_table, 2):
            made = merge(first, second)
            if made is not None and made.spec not in known and len(fresh) < MOST_MERGED:
                fresh.setdefault(made.spec, made)
        yield from fresh.values()


def merge(first: Candidate, second: Candidate) -> Candidate | None:
    """One btree that does what both do, where the keys of one begin those of the other and they
    differ in what they include."""
    short, long = sorted((first, second), key=lambda c: len(c.spec.keys))
    a, b = short.spec, long.spec
    alike = a.method == b.method == "btree" and a.where == b.where
    if not alike or b.keys[: len(a.keys)] != a.keys or not (a.include or b.include):
        return None
    keys = {name_of(key.sql) for key in b.keys}
    include = tuple(i for i in sorted({*a.include, *b.include}) if name_of(i) not in keys)
    if len(include) > _MOST_INCLUDED:
        return None
    statements = tuple(dict.fromkeys((*short.statements, *long.statements)))
    spec = IndexSpec(b.schema, b.table, b.keys, include=include, where=b.where)
    replaces = tuple(dict.fromkeys((*short.replaces, *long.replaces)))
    return Candidate(spec, "merge", statements, f"{a.name} and {b.name} in one", replaces)
