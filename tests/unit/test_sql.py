"""SQL texts: parsed, split, normalised, and never able to end the process."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filban.errors import UsageError
from filban.sql import (
    SqlError,
    fingerprint,
    normalize,
    parse,
    read_only,
    session_effects,
    split,
    statement_kinds,
)

EVERY = [fingerprint, normalize, split, parse, statement_kinds, session_effects]


def test_texts() -> None:
    assert fingerprint("SELECT a FROM t WHERE id = 1") == fingerprint("select a from T where id=22")
    assert fingerprint("SELECT a FROM t") != fingerprint("SELECT b FROM t")
    assert fingerprint("SELECT 1 WHERE x IN (1, 2)") == fingerprint("SELECT 1 WHERE x IN (1, 2, 3)")
    assert len(fingerprint("SELECT 1")) == 16
    assert normalize("SELECT 'a', 2 FROM t") == "SELECT $1, $2 FROM t"
    assert split(" SELECT ';' ; ; DELETE FROM t\n") == ["SELECT ';'", "DELETE FROM t"]


def test_tree() -> None:
    tree = parse("INSERT INTO s.t (a) SELECT f(x) FROM u; SET a = 1")
    insert, setting = tree.statements
    assert (insert.kind, setting.kind) == ("InsertStmt", "VariableSetStmt")
    assert insert["relation"].kind == "RangeVar"
    assert insert["relation"]["schemaname"] == "s"
    assert insert.get("returningClause") is None
    assert [n["relname"] for n in tree.find("RangeVar")] == ["t", "u"]
    assert [call.kind for call in insert["selectStmt"]["targetList"]] == ["ResTarget"]


@pytest.mark.parametrize(
    ("sql", "kinds"),
    [
        ("SELECT 1; VALUES (1); WITH x AS (SELECT 1) TABLE x", ("SELECT", "SELECT", "SELECT")),
        ("BEGIN; SAVEPOINT a; COMMIT AND CHAIN", ("BEGIN", "SAVEPOINT", "COMMIT")),
        ("ROLLBACK TO a; RELEASE a", ("ROLLBACK TO", "RELEASE")),
        ("START TRANSACTION; SET a = 1; RESET ALL; SHOW ALL", ("START", "SET", "RESET", "SHOW")),
        ("CREATE INDEX ON t (a); DROP TABLE t", ("CREATE", "DROP")),
        ("ALTER TABLE t RENAME TO u; ALTER TABLE t ADD a int", ("ALTER", "ALTER")),
        ("GRANT SELECT ON t TO r; REVOKE r FROM s", ("GRANT", "REVOKE")),
        ("MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", ("MERGE",)),
        ("COPY t TO STDOUT", ("COPY",)),
        ("", ()),
    ],
)
def test_kinds(sql: str, kinds: tuple[str, ...]) -> None:
    assert statement_kinds(sql) == kinds


@pytest.mark.parametrize("function", EVERY)
def test_an_error_says_where(function: object) -> None:
    with pytest.raises(SqlError) as caught:
        function("SELECT 'é' FROM FROM t")  # type: ignore[operator]
    assert caught.value.position == 17
    assert "character 17" in caught.value.message
    assert caught.value.hint
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize("function", EVERY)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1\0; SET ROLE admin",
        "SELECT '\ud800'",
        "SELECT 'unterminated",
        "SELECT " + "(" * 50_000 + "1" + ")" * 50_000,
        "SELECT " + "1+" * 200_000 + "1",
        "SELECT " + "f(" * 50_000 + "1" + ")" * 50_000,
        "SELECT " + "CASE WHEN a AND b THEN " * 9_000 + "1" + " END" * 9_000,
        "SELECT " + "NOT " * 50_000 + "true",
        " UNION ".join(["SELECT 1, 2"] * 50_000),
        "SELECT FROM a " + "JOIN b ON f(a, b) AND c OR d " * 50_000,
        "SELECT 1" + "::int" * 100_000,
        "SELECT a" + " IS NULL" * 100_000,
        "x" * 17_000_000,
    ],
    ids=lambda sql: sql[:24],
)
def test_what_would_end_the_process_is_an_error(function: object, sql: str) -> None:
    with pytest.raises(SqlError):
        function(sql)  # type: ignore[operator]


def test_depth_is_survived_with_the_smallest_usual_stack() -> None:
    """Just below the limit, every function, in a thread with 1 MB of stack: its own process,
    because what is wrong here ends it."""
    program = """
import threading
from filban.sql import fingerprint, normalize, split, parse, SqlError
from filban.sql.parser import DEEPEST
texts = ["SELECT " + "1+" * (DEEPEST // 2 - 5) + "1", "SELECT " + "1+" * (DEEPEST - 10) + "1",
         "SELECT " + "f(" * (DEEPEST // 3 - 5) + "1" + ")" * (DEEPEST // 3 - 5),
         "SELECT " + "NOT " * (DEEPEST - 10) + "a",
         " UNION ".join(["SELECT 1"] * (DEEPEST // 5 - 5))]
def run():
    for text in texts:
        for function in (fingerprint, normalize, split, parse):
            try:
                function(text)
            except SqlError:
                pass
    print("survived")
threading.stack_size(1024 * 1024)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr


def test_a_megabyte_of_rows_is_no_depth() -> None:
    rows = ",".join(f"({n}, 'abc', -1)" for n in range(60_000))
    sql = f"INSERT INTO t VALUES {rows}"
    assert len(sql) > 1_000_000
    assert len(fingerprint(sql)) == 16
    assert split(sql) == [sql]
    assert fingerprint("SELECT 1 WHERE " + " OR ".join(["a = 1"] * 20_000))
    branches = " ".join(f"WHEN id = {n} THEN 'x'" for n in range(2_000))
    assert fingerprint(f"UPDATE t SET a = CASE {branches} ELSE a END")


def test_four_hundred_levels_have_a_tree() -> None:
    nested = "SELECT " + "f(" * 150 + "1" + ")" * 150
    assert len(list(parse(nested).find("FuncCall"))) == 150


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_parsed_or_refused(sql: str) -> None:
    for function in EVERY:
        with contextlib.suppress(SqlError):
            function(sql)  # type: ignore[operator]
    assert read_only(sql) in {True, False}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "SELECT lower(name), count(*) FROM users WHERE id = $1 GROUP BY 1 ORDER BY 2 LIMIT 10",
        "WITH x AS (SELECT now()) SELECT * FROM x UNION SELECT $1",
        "VALUES (1), (2)",
        "TABLE users",
        "SHOW search_path",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT * FROM generate_series(1, 10) TABLESAMPLE_IS_A_NAME",
        "SELECT extract(year FROM at), 'x' SIMILAR TO 'y', data->>'a' FROM t",
        "SELECT 1; SELECT 2",
        "SELECT random(), gen_random_uuid(), clock_timestamp()",
    ],
)
def test_read_only(sql: str) -> None:
    assert read_only(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELEC 1",
        "INSERT INTO t VALUES (1)",
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "SELECT 1 FROM t FOR UPDATE",
        "SELECT 1 FROM (SELECT 1 FROM t FOR SHARE) x",
        "SELECT nextval('s')",
        "SELECT lastval()",
        "SELECT my_function()",
        "SELECT public.lower('x')",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_current_xact_id()",
        "SELECT set_config('a.b', 'c', true)",
        "SELECT 1 INTO t",
        "SELECT 1; DELETE FROM t",
        "BEGIN",
        "SET a = 1",
        "SET LOCAL a = 1",
        "EXPLAIN ANALYZE DELETE FROM t",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "EXPLAIN EXECUTE s",
        "COPY (SELECT 1) TO PROGRAM 'rm'",
        "DECLARE c CURSOR FOR SELECT 1",
        "LOCK TABLE t",
        "SELECT pg_notify('a', 'b')",
        "SELECT query_to_xml('DELETE FROM t', true, true, '')",
    ],
)
def test_not_read_only(sql: str) -> None:
    assert not read_only(sql)


def test_the_parser_is_loaded_when_it_is_needed() -> None:
    program = "import sys, filban, filban.sql, filban.pool.clean; print('postgast' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
