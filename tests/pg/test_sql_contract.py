"""Every .sql file of every package on every PostgreSQL major: it runs and returns its row class.

The convention: a package with a `sql/` folder has `rows.QUERIES`, query name -> row class. A query
runs with NULL for each parameter, as a superuser and as a role without rights.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import filban
from conftest import lacking, majors_with
from filban.pg.loader import NEWEST_MAJOR, OLDEST_MAJOR, Query, place_schemas, queries

# Their rows are put together by hand in session.py, or they belong to a program's own database.
WITHOUT_ROWS = re.compile(r"filban\.(pg$|flows\b)")


def packages() -> list[str]:
    """Found by their files, not by importing: what a query needs is its own room only."""
    root = Path(filban.__file__).parent
    folders = {file.parent.parent for file in root.rglob("sql/*.sql")}
    names = [".".join(("filban", *folder.relative_to(root).parts)) for folder in folders]
    return sorted(name for name in names if not WITHOUT_ROWS.match(name))


def all_queries() -> list[Query]:
    return [query for package in packages() for query in queries(package)]


def rows_of(package: str) -> Any:
    return importlib.import_module(f"{package}.rows")


def name(query: Query) -> str:
    return f"{query.package}.{query.name}"


@pytest.mark.parametrize("package", packages())
def test_a_package_names_a_row_class_for_each_of_its_queries(package: str):
    assert set(rows_of(package).QUERIES) == {query.name for query in queries(package)}


@pytest.mark.parametrize("query", all_queries(), ids=name)
def test_a_query_says_what_it_returns(query: Query):
    for major in range(OLDEST_MAJOR, NEWEST_MAJOR + 1):
        assert query.text(major).startswith("-- ")


def on_every_major() -> list[tuple[int, Query]]:
    """Each query on each major that has the extensions it reads."""
    return [
        (major, query)
        for query in all_queries()
        for major in majors_with()
        if major in majors_with(*query.extensions(major))
    ]


async def schemas(connection: asyncpg.Connection, query: Query, major: int) -> dict[str, str]:
    for extension in query.extensions(major):
        if not await connection.fetchval(
            "SELECT count(*) FROM pg_available_extensions WHERE name = $1", extension
        ):
            lacking(f"{extension} for PostgreSQL {major}")
        await connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    return dict.fromkeys(query.extensions(major), "public")


@pytest.mark.parametrize(
    ("every_major", "query"),
    on_every_major(),
    indirect=["every_major"],
    ids=lambda value: name(value) if isinstance(value, Query) else f"pg{value}",
)
async def test_the_columns_are_the_row_class(every_db, query: Query):
    major = every_db.cluster.binaries.major
    rows = rows_of(query.package)
    async with every_db.connection() as connection:
        placed = await schemas(connection, query, major)
        await connection.execute("SET search_path = pg_catalog")
        statement = await connection.prepare(place_schemas(query.text(major), placed))
        columns = [attribute.name for attribute in statement.get_attributes()]
        assert columns == [field.name for field in dataclasses.fields(rows.QUERIES[query.name])]
        await statement.fetch(*[None] * len(statement.get_parameters()))
    if query.name not in getattr(rows, "SUPERUSER", ()) and not placed:
        await runs(every_db.dsn_as("plain"), query, major)


async def runs(dsn: str, query: Query, major: int) -> None:
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "pg_catalog"})
    try:
        statement = await connection.prepare(query.text(major))
        await statement.fetch(*[None] * len(statement.get_parameters()))
    finally:
        await connection.close()


@pytest.mark.parametrize("query", [q for q in all_queries() if q.text(14) != q.text(15)], ids=name)
async def test_what_only_14_gets(db, query: Query):
    """Where 14 is not installed: 15 took nothing away that 14 had, so 14's text runs on it."""
    if db.cluster.binaries.major != 15:
        pytest.skip("the default major is not 15")
    fields = [
        field.name for field in dataclasses.fields(rows_of(query.package).QUERIES[query.name])
    ]
    async with db.connection() as connection:
        placed = await schemas(connection, query, 14)
        statement = await connection.prepare(place_schemas(query.text(14), placed))
        assert [attribute.name for attribute in statement.get_attributes()] == fields
        await statement.fetch(*[None] * len(statement.get_parameters()))


@pytest.mark.parametrize("query", all_queries(), ids=name)
async def test_it_runs_on_a_standby(primary_standby, query: Query):
    if query.name in getattr(rows_of(query.package), "PRIMARY_ONLY", ()):
        return
    cluster = primary_standby.standby
    major = cluster.binaries.major
    if query.extensions(major):
        return
    await runs(cluster.dsn(), query, major)
