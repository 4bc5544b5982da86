"""From a workload to what may help it: `candidates` asks the server for plans and judges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from filban.index.advice import catalog as _catalog
from filban.index.advice import merging as _merging
from filban.index.advice import remedies as _remedies
from filban.index.advice import rewrites as _rewrites
from filban.index.advice import texts as _texts
from filban.index.advice.access import Access, Order, Reading
from filban.index.advice.candidates import Context, Thought, think
from filban.index.advice.candidates.thought import asked
from filban.index.advice.catalog import Catalog
from filban.index.advice.conditions import Condition
from filban.index.advice.expressions import Call, tokens
from filban.index.advice.planning import REFUSALS, Plan, Planner, planner
from filban.index.advice.rows import (
    Candidate,
    Found,
    IndexSpec,
    Refused,
    Remedy,
    Statement,
    Unread,
    Workload,
)
from filban.index.advice.specs import Existing, parse_index, serves
from filban.index.advice.texts import Text
from filban.index.advice.worth import Change, Judge, Verdict
from filban.index.upkeep.rows import Statement as Definition
from filban.pg import Query, Session
from filban.sql import SqlError

_UPKEEP = "filban.index.upkeep"
# Plans in all. Beyond it, the statements of least weight are planned with one example each.
MOST_PLANS = 15_000


@dataclass(slots=True)
class _Seen:
    """What the plans of a workload say."""

    accesses: list[Access] = field(default_factory=list)
    changes: dict[int, list[Change]] = field(default_factory=dict)
    remedies: list[Remedy] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    constants: dict[str, frozenset[str]] = field(default_factory=dict)
    returned: dict[str, float] = field(default_factory=dict)


async def candidates(session: Session, workload: Workload) -> Found:
    """Every index that may help, every one that comes to mind and does not, and other remedies.

    Only EXPLAIN is run. Statements that the server cannot plan are in `unread`.
    Raises what `Session.rows` raises.
    """
    async with planner(session, workload.search_path) as asks:
        catalog, seen = await _look(session, workload, asks)
        judge = await _judge(session, workload, catalog, seen, asks)
        context = Context(judge.catalog, asked(seen.accesses), seen.constants)
        return await _judged(_thoughts(seen.accesses, context), seen, judge)


async def why_not(session: Session, workload: Workload, create_index: str) -> Candidate | Refused:
    """The verdict on somebody's own idea, `CREATE INDEX …`. Raises UsageError for another text."""
    spec = parse_index(create_index)
    async with planner(session, workload.search_path) as asks:
        catalog, seen = await _look(session, workload, asks)
        judge = await _judge(session, workload, catalog, seen, asks)
        on_table = [
            a for a in seen.accesses
            if (a.table.schema_quoted, a.table.name_quoted) == (spec.schema, spec.table)
        ]  # fmt: skip
        thought = Thought(spec, "equality", "asked for")
        return _told(thought, await judge.verdict(spec, on_table), _served(spec, on_table))


async def _look(session: Session, workload: Workload, asks: Planner) -> tuple[Catalog, _Seen]:
    names = await _catalog.names(session)
    wanted = {t for s in workload.statements for t in s.tables}
    tables = [t for t in names.tables.values() if t.quoted in wanted]
    oids = {names.root(t).oid for t in tables}
    catalog = await _catalog.catalog(session, names, oids)
    memory = float(session.server.settings["work_mem"].bytes())
    seen = _Seen()
    for statement, texts in _planned(workload.statements):
        await _plan_all(statement, texts, catalog, asks, seen, memory)
    return catalog, seen


def _planned(statements: Iterable[Statement]) -> Iterator[tuple[Statement, tuple[str, ...]]]:
    """The heaviest statements with all their examples, the others with the first."""
    left = MOST_PLANS
    for statement in sorted(statements, key=lambda s: (-s.total_ms, -s.calls, s.id)):
        texts = statement.texts if left > 0 else statement.texts[:1]
        left -= len(texts)
        yield statement, texts


async def _plan_all(
    statement: Statement,
    texts: tuple[str, ...],
    catalog: Catalog,
    asks: Planner,
    seen: _Seen,
    memory: float,
) -> None:
    why = ""
    first: Text | None = None
    for sql in texts:
        try:
            first = first or _texts.read(sql)
            plan = await asks.plan(sql, generic=statement.generic)
        except (*REFUSALS, SqlError) as error:
            why = error.message
            continue
        if first is not None:
            _take_in(statement, first, plan, catalog, seen, memory)
    if why and statement.id not in {a.statement for a in seen.accesses}:
        seen.unread.append(Unread(statement.sql, why, statement.calls))
    if first is not None:
        seen.constants[statement.id] = _constants(statement)
        seen.remedies += _rewrites.rewrites(first, statement.id)


def _constants(statement: Statement) -> frozenset[str]:
    """The literals that are the program's: those beside parameters in its text, and with several
    examples those that all of them have. Of a single text without parameters the words only: a
    number in it may as well be what somebody asked for."""
    try:
        read = [_texts.read(text) for text in (statement.sql, *statement.examples)]
    except SqlError:
        return frozenset()
    known = [text for text in read if text is not None]
    literals = frozenset.intersection(*(text.literals for text in known))
    if known[0].parameters or len({text.sql for text in known}) > 1:
        return literals
    return frozenset(word for word in literals if not word.replace(".", "").isdigit())


def _take_in(
    statement: Statement, text: Text, plan: Plan, catalog: Catalog, seen: _Seen, memory: float
) -> None:
    found = Reading(statement.id, catalog, text.named).accesses(plan)
    seen.accesses += found
    if (came := _remedies.returned(statement, plan, found)) is not None:
        seen.returned[statement.id] = came
    seen.remedies += _remedies.of_plan(statement, plan, memory)
    seen.remedies += _remedies.of_estimate(statement, plan, found)
    for access in found:
        seen.remedies += _remedies.of_access(access, catalog)
    if text.kind == "write" and (change := _change(statement, text, plan, catalog)) is not None:
        known = seen.changes.setdefault(change.table, [])
        if change.statement not in {c.statement for c in known}:
            known.append(change)


def _change(statement: Statement, text: Text, plan: Plan, catalog: Catalog) -> Change | None:
    """What a writing statement does to its table. DELETE leaves indexes as they are."""
    if plan["Node Type"] != "ModifyTable" or plan.get("Operation") not in ("Insert", "Update"):
        return None
    tables = catalog.names.find(plan.get("Schema", ""), plan.get("Relation Name", ""))
    if not tables:
        return None
    rows = sum(child["Plan Rows"] for child in plan.get("Plans", ())[:1]) or 1
    targets = text.fields.get("targetList", ()) if plan["Operation"] == "Update" else ()
    columns = frozenset(t["ResTarget"]["name"] for t in targets if "name" in t["ResTarget"])
    per_call = 1 if rows > tables[0].rows > 0 else rows
    return Change(
        catalog.names.root(tables[0]).oid, statement.id, statement.calls * per_call,
        columns if plan["Operation"] == "Update" else None,
    )  # fmt: skip


async def _judge(
    session: Session, workload: Workload, catalog: Catalog, seen: _Seen, asks: Planner
) -> Judge:
    oids = [i.oid for on_table in catalog.indexes.values() for i in on_table]
    texts = await session.rows(Query(_UPKEEP, "definitions"), Definition, oids)
    specs = {row.oid: parse_index(row.statement) for row in texts}
    existing = {
        table: tuple(Existing(specs[i.oid], i) for i in on_table if i.oid in specs)
        for table, on_table in catalog.indexes.items()
    }
    known = await _catalog.functions(session, _called(seen.accesses, catalog))
    return Judge(
        catalog=_with_functions(catalog, known),
        planner=asks,
        existing=existing,
        calls={s.id: s.calls for s in workload.statements},
        changes={table: tuple(c) for table, c in seen.changes.items()},
        returned=seen.returned,
    )


def _with_functions(catalog: Catalog, known: dict[tuple[Call, str | None], bool]) -> Catalog:
    return Catalog(
        catalog.names, catalog.columns, catalog.indexes, catalog.foreign_keys, catalog.extensions,
        catalog.settings, known,
    )  # fmt: skip


def _called(accesses: Iterable[Access], catalog: Catalog) -> set[tuple[Call, str | None]]:
    found = set()
    for access in accesses:
        columns = catalog.columns.get(access.table.oid, {})
        ways: list[Condition | Order] = [*access.conditions, *access.order]
        ways += [c for group in access.any_of for c in group]
        for way in (w for w in ways if w.functions):
            kind = next((columns[t.name].type for t in tokens(way.key) if t.name in columns), None)
            found |= {(call, kind) for call in way.functions}
    return found


def _thoughts(accesses: list[Access], context: Context) -> dict[IndexSpec, Thought]:
    found: dict[IndexSpec, Thought] = {}
    for access in accesses:
        if access.table.kind in ("r", "p", "m"):
            for thought in think(access, context):
                found.setdefault(thought.spec, thought)
    return found


def _served(spec: IndexSpec, accesses: Iterable[Access]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(a.statement for a in accesses if serves(spec, a) is not None))


def _told(thought: Thought, verdict: Verdict, statements: tuple[str, ...]) -> Candidate | Refused:
    if verdict.code is not None:
        return Refused(thought.spec, statements, verdict.code, verdict.reason, verdict.numbers)
    return Candidate(
        thought.spec, thought.kind, statements, thought.reason, verdict.replaces, verdict.numbers
    )


async def _judged(thoughts: dict[IndexSpec, Thought], seen: _Seen, judge: Judge) -> Found:
    by_table: dict[str, list[Access]] = {}
    for access in seen.accesses:
        by_table.setdefault(access.table.quoted, []).append(access)
    told: list[Candidate | Refused] = []
    for spec, thought in thoughts.items():
        on_table = by_table.get(spec.on, [])
        if thought.refused is not None:
            verdict = Verdict(thought.refused, thought.reason)
        else:
            verdict = await judge.verdict(spec, on_table)
        told.append(_told(thought, verdict, _served(spec, on_table)))
    told += _merging.foreign_keys(judge, seen.accesses)
    refused = [one for one in told if isinstance(one, Refused)]
    good = {c.spec: c for c in reversed(told) if isinstance(c, Candidate)}
    for merged in _merging.merged(list(good.values())):
        verdict = await judge.verdict(merged.spec, by_table[merged.spec.on])
        if verdict.code is None:
            good[merged.spec] = replace(merged, numbers=verdict.numbers, replaces=verdict.replaces)
    return Found(
        tuple(sorted(good.values(), key=lambda c: c.spec.definition())),
        tuple(refused),
        tuple(dict.fromkeys([*seen.remedies, *_about(refused)])),
        tuple(seen.unread),
    )


def _about(refused: Iterable[Refused]) -> Iterator[Remedy]:
    """What would make a refused index possible."""
    hidden: dict[str, tuple[str, float]] = {}
    for one in refused:
        statement = next(iter(one.statements), "")
        if one.code == "extension":
            sql = "CREATE EXTENSION pg_trgm"
            yield Remedy("extension", statement, sql, one.reason)
        elif one.code == "not_visible" and one.spec is not None:
            hidden.setdefault(one.spec.on, (statement, one.numbers["visible_share"]))
    yield from _remedies.of_visibility(hidden)
