"""Candidates that come from elsewhere than one access: foreign keys, and merged ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from filban.index.advice.access import Access
from filban.index.advice.rows import Candidate, IndexSpec, Key
from filban.index.advice.specs import name_of
from filban.index.advice.worth import Judge
from filban.index.upkeep.foreign_keys import unsupported

# Merged candidates a table: pairs grow with the square, and the first of them are the likeliest.
MOST_MERGED = 20
_MOST_INCLUDED = 6


def foreign_keys(judge: Judge, accesses: Iterable[Access]) -> Iterator[Candidate]:
    """An index for each foreign key whose referenced rows are deleted: every DELETE there reads the
    whole referring table, in a trigger that no plan shows."""
    deleted: dict[str, list[str]] = {}
    for access in accesses:
        if access.writes == "Delete":
            deleted.setdefault(access.table.quoted, []).append(access.statement)
    indexes = [e.index for on_table in judge.existing.values() for e in on_table]
    tables = {f"{t.schema}.{t.name}": t for t in judge.catalog.names.tables.values()}
    for missing in unsupported(list(judge.catalog.foreign_keys), indexes):
        key = missing.first
        table, referenced = judge.catalog.names.tables[key.table_oid], tables.get(
            key.referenced_name)  # fmt: skip
        statements = deleted.get(referenced.quoted, []) if referenced else []
        if not (statements or key.referenced_deletes) or judge.small(table) is not None:
            continue
        columns = [judge.catalog.numbered(key.table_oid, n) for n in key.columns]
        keys = tuple(Key(c.quoted) for c in columns if c is not None)
        yield Candidate(
            IndexSpec(table.schema_quoted, table.name_quoted, keys),
            "fk",
            tuple(dict.fromkeys(statements)),
            f"each row deleted of {key.referenced_name} is looked for here ({key.name})",
            (),
            {"rows": float(key.rows), "deletes": float(key.referenced_deletes)},
        )


def merged(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates, each once, and what two of a table would be as one."""
    found: dict[IndexSpec, Candidate] = {}
    for one in candidates:
        found.setdefault(one.spec, one)
    by_table: dict[str, list[Candidate]] = {}
    for one in found.values():
        by_table.setdefault(one.spec.on, []).append(one)
    for on_table in by_table.values():
        fresh: dict[IndexSpec, Candidate] = {}
        for first, second in combinations(on_table, 2):
            made = merge(first, second)
            if made is not None and made.spec not in found and len(fresh) < MOST_MERGED:
                fresh.setdefault(made.spec, made)
        found |= fresh
    return list(found.values())


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
