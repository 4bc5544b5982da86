"""What a statement would cost with other indexes than there are.

`Hypothetical` asks HypoPG, `Built` a clone on which all candidates stand for real. Both only plan.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from filban.errors import NotSupported
from filban.index.advice import IndexSpec, Statement
from filban.index.advice.planning import Plan, Planner, nodes, planner, printed_name
from filban.index.choice.rows import Cost, Specs
from filban.pg import Session
from filban.pg.driver_errors import statement_errors


class WhatIf(Protocol):
    """`asked` counts the plans."""

    @property
    def asked(self) -> int: ...

    async def cost(self, statement: Statement, specs: Specs) -> Cost:
        """The cheapest plan with these candidates and the indexes that are there; the mean over
        the statement's examples. Raises what planning raises."""
        ...


class Hypothetical:
    """HypoPG (an extension of the server): its indexes exist in our session only."""

    def __init__(self, session: Session, plans: Planner) -> None:
        self._session = session
        self._plans = plans
        self._standing: dict[IndexSpec, int] = {}  # what the session has, by oid

    @property
    def asked(self) -> int:
        return self._plans.asked

    async def cost(self, statement: Statement, specs: Specs) -> Cost:
        await self._stand(frozenset(s for s in specs if s.on in statement.tables))
        names = {f"<{oid}>": spec for spec, oid in self._standing.items()}
        return await mean_cost(self._plans, statement, names)

    async def bytes(self, spec: IndexSpec) -> int:
        """HypoPG's own estimate: it knows no deduplication, and says up to six times too much."""
        await self._stand(self._specs | {spec})
        return int(await self._fetch("hypopg_relation_size", self._standing[spec]))

    async def forget(self) -> None:
        """Leave the session without hypothetical indexes."""
        await self._stand(frozenset())

    @property
    def _specs(self) -> Specs:
        return frozenset(self._standing)

    async def _stand(self, specs: Specs) -> None:
        for spec in self._specs - specs:
            await self._fetch("hypopg_drop_index", self._standing.pop(spec))
        for spec in sorted(specs - self._specs, key=IndexSpec.definition):
            self._standing[spec] = await self._fetch("hypopg_create_index", spec.definition())

    async def _fetch(self, function: str, argument: int | str) -> int:
        name = f"{self._session.server.extensions['hypopg'].schema_quoted}.{function}"
        column = "indexrelid" if function == "hypopg_create_index" else "*"
        with statement_errors("asking HypoPG"):
            answer = await self._session.connection.fetchval(
                f"SELECT {column} FROM {name}($1)", argument
            )
        return int(answer)


class Built:
    """A clone (never a production server: it writes to pg_index) on which every candidate is built,
    by name. For each question those that are not asked about are marked invalid in a transaction
    that is rolled back: the planner passes them over."""

    def __init__(self, session: Session, plans: Planner, names: Mapping[IndexSpec, str]) -> None:
        self._session = session
        self._plans = plans
        self._names = dict(names)

    @property
    def asked(self) -> int:
        return self._plans.asked

    async def cost(self, statement: Statement, specs: Specs) -> Cost:
        hidden = [name for spec, name in self._names.items() if spec not in specs]
        connection = self._session.connection
        transaction = connection.transaction()
        with statement_errors("hiding indexes of the clone"):
            await transaction.start()
            try:
                await connection.execute(
                    "UPDATE pg_catalog.pg_index SET indisvalid = false"
                    " WHERE indexrelid = ANY ($1::pg_catalog.text[]::pg_catalog.regclass[])",
                    hidden,
                )
                names = {printed_name(name): spec for spec, name in self._names.items()}
                return await mean_cost(self._plans, statement, names)
            finally:
                await transaction.rollback()


@contextlib.asynccontextmanager
async def hypothetical(session: Session, search_path: str) -> AsyncIterator[Hypothetical]:
    """Raises NotSupported where the database has no HypoPG."""
    hypopg = session.server.extensions.get("hypopg")
    if hypopg is None or hypopg.installed_version is None:
        raise NotSupported(
            "this database has no HypoPG, so that indexes cannot be tried without building them",
            hint="CREATE EXTENSION hypopg (package postgresql-NN-hypopg), or --prove on a clone",
        )
    async with planner(session, search_path) as plans:
        asks = Hypothetical(session, plans)
        try:
            yield asks
        finally:
            if not session.connection.is_closed():
                await asks.forget()


async def mean_cost(plans: Planner, statement: Statement, names: Mapping[str, IndexSpec]) -> Cost:
    """names: how a plan calls a candidate, or begins to, -> the candidate."""
    costs = [
        _cost(await plans.plan(text, generic=statement.generic), names) for text in statement.texts
    ]
    used = frozenset[IndexSpec]().union(*(c.used for c in costs))
    return Cost(sum(c.total for c in costs) / len(costs), used)


def _cost(plan: Plan, names: Mapping[str, IndexSpec]) -> Cost:
    said = {str(node["Index Name"]) for node in nodes(plan) if "Index Name" in node}
    # HypoPG's names are <oid>method_table_columns
    keys = {s[: s.index(">") + 1] if s.startswith("<") and ">" in s else s for s in said}
    return Cost(float(plan["Total Cost"]), frozenset(names[k] for k in keys if k in names))
