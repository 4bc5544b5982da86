"""What a text does to its session, by the text alone."""

from __future__ import annotations

import pytest

from filban.sql import Effects, Name, body_effects, session_effects


def name(text: str) -> Name:
    schema, _, last = text.rpartition(".")
    return Name(schema, last)


HARMLESS = [
    "SELECT 1",
    "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
    "COMMIT AND CHAIN",
    "ROLLBACK TO SAVEPOINT a",
    "PREPARE TRANSACTION 'x'",
    "SET LOCAL search_path = x",
    "SET LOCAL ROLE r",
    "SET LOCAL SESSION AUTHORIZATION r",
    "SET TRANSACTION READ ONLY",
    "SET CONSTRAINTS ALL DEFERRED",
    "SHOW work_mem",
    "DECLARE c CURSOR FOR SELECT 1",
    "FETCH 1 FROM c",
    "CLOSE c",
    "NOTIFY c, 'x'",
    "EXPLAIN (ANALYZE, BUFFERS) SELECT 1",
    "COPY (SELECT 1) TO STDOUT",
]
KEPT = {
    "SET a.b = 1": "SET",
    "SET SESSION work_mem = '1MB'": "SET",
    "SET TIME ZONE 'UTC'": "SET",
    "SET NAMES 'UTF8'": "SET",
    "SET ROLE r": "SET",
    "SET SESSION AUTHORIZATION r": "SET",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY": "SET",
    "RESET ALL": "RESET",
    "RESET ROLE": "RESET",
    "LISTEN c": "LISTEN",
    "UNLISTEN *": "UNLISTEN",
    "PREPARE p AS SELECT 1": "PREPARE",
    "EXECUTE p": "EXECUTE",
    "EXPLAIN EXECUTE p": "EXECUTE",
    "DEALLOCATE p": "DEALLOCATE",
    "DISCARD ALL": "DISCARD",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1": "DECLARE … WITH HOLD",
    "DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT 1": "DECLARE … WITH HOLD",
    "DO 'BEGIN END'": "DO",
    "CALL p()": "CALL",
    "LOAD 'x'": "LOAD",
    "CREATE TEMP TABLE t (a int)": "a temporary object",
    "CREATE TEMPORARY VIEW v AS SELECT 1": "a temporary object",
    "CREATE TEMP SEQUENCE s": "a temporary object",
    "CREATE TEMP TABLE t AS SELECT 1": "a temporary object",
    "SELECT 1 INTO TEMP t": "SELECT INTO",
    "SELECT * FROM pg_temp.t": "a temporary object",
    "SELECT pg_temp.f()": "a temporary object",
    "SELECT 1; SET a.b = 1; SELECT 2": "SET",
    "VACUUM": "VACUUM or ANALYZE",
    "TRUNCATE a CASCADE": "TRUNCATE … CASCADE",
}
DDL = [
    "CREATE TABLE t (a int)",
    "SELECT 1 INTO t",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DROP VIEW v",
    "ALTER TABLE t ADD COLUMN b int",
    "CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION f()",
    "CREATE EXTENSION x",
    "DO 'BEGIN END'",
    "CALL p()",
    "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    "EXECUTE p",
]


@pytest.mark.parametrize("sql", HARMLESS)
def test_harmless(sql: str) -> None:
    effects = session_effects(sql)
    assert (effects.reason, effects.ddl) == ("", False)


@pytest.mark.parametrize(("sql", "reason"), KEPT.items())
def test_kept_by_the_session(sql: str, reason: str) -> None:
    assert session_effects(sql).reason == reason


@pytest.mark.parametrize("sql", DDL)
def test_ddl(sql: str) -> None:
    effects = session_effects(sql)
    assert effects.ddl
    assert effects.reason


@pytest.mark.parametrize("sql", [sql for sql in KEPT if "TEMP" in sql])
def test_what_is_temporary_is_no_ddl(sql: str) -> None:
    assert not session_effects(sql).ddl


@pytest.mark.parametrize(
    ("sql", "field", "expected"),
    [
        ("SELECT * FROM a JOIN s.b ON true", "reads", {"a", "s.b"}),
        ("INSERT INTO a SELECT * FROM b", "writes", {"a"}),
        ("INSERT INTO a SELECT * FROM b", "reads", {"b"}),
        ("WITH x AS (UPDATE a SET b = 1 RETURNING *) SELECT * FROM x", "writes", {"a"}),
        ("MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE", "writes", {"a"}),
        ("COPY a FROM STDIN", "writes", {"a"}),
        ("COPY a TO STDOUT", "reads", {"a"}),
        ("TRUNCATE a, s.b", "writes", {"a", "s.b"}),
        ("EXPLAIN ANALYZE DELETE FROM a", "writes", {"a"}),
        ("SELECT f(1), s.g(), db.s.h()", "functions", {"f", "s.g", "s.h"}),
        ("SELECT * FROM f() WITH ORDINALITY, ROWS FROM (g(), h())", "functions", {"f", "g", "h"}),
        ("SELECT * FROM t TABLESAMPLE m (1)", "functions", {"m"}),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = f()", "functions", {"f"}),
        ("SELECT 1 OVER_ FROM t WHERE a OPERATOR(s.+) b", "operators", {"s.+"}),
        ("SELECT a BETWEEN 1 AND 2", "operators", {">=", "<=", "<", ">"}),
        ("SELECT a IN (1), b LIKE 'x', c = ANY ($1)", "operators", {"=", "~~"}),
        ("SELECT a <> ALL (SELECT 1) FROM t ORDER BY b USING @<", "operators", {"<>", "@<"}),
        ("SELECT (1, 2) < (3, 4), a << ANY (SELECT 1)", "operators", {"<", "<<"}),
        ("SELECT 1::s.t, CAST(x AS u[])", "types", {"s.t", "u"}),
        ("SELECT * FROM f() AS x (a s.t)", "types", {"s.t"}),
    ],
)
def test_names(sql: str, field: str, expected: set[str]) -> None:
    assert getattr(session_effects(sql), field) == {name(text) for text in expected}


def test_what_follows_a_dot_may_be_a_function() -> None:
    assert session_effects("SELECT t.a, (t).b, (f(x)).c.d, e FROM t").fields == {"a", "b", "c", "d"}


@pytest.mark.parametrize(
    ("sql", "local"),
    [
        ("SELECT set_config('a', $1, true)", True),
        ("SELECT pg_catalog.set_config('a', $1, true)", True),
        ("SELECT set_config('a', $1, false)", False),
        ("SELECT set_config('a', $1, $2)", False),
        ("SELECT set_config('a', $1, is_local => true)", False),
        ("SELECT set_config('a', $1, true), set_config('a', 'b', false)", False),
        ("SELECT s.set_config('a', $1, true)", False),
    ],
)
def test_settings_of_the_transaction(sql: str, local: bool) -> None:
    effects = session_effects(sql)
    assert any(f.name == "set_config" for f in effects.functions) is not local
    if local:
        assert effects.set_locally


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("BEGIN NEW.updated_at := now(); RETURN NEW; END", ""),
        ("DECLARE x int; BEGIN UPDATE t SET a = 1; IF x > 1 THEN x := 2; END IF; END", ""),
        ("BEGIN INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1; RETURN NULL; END", ""),
        ("BEGIN SET LOCAL a.b = 1; END", ""),
        ("BEGIN PERFORM f() FROM t FOR UPDATE; RAISE NOTICE 'SET x'; -- SET x\nEND", ""),
        ("BEGIN SET a.b = 1; END", "SET"),
        ("BEGIN IF x THEN SET a.b = 1; END IF; END", "SET"),
        ("BEGIN IF EXISTS (SELECT 1 FROM t FOR UPDATE) THEN SET a = 1; END IF; END", "SET"),
        ("BEGIN LOOP\nset /* LOCAL */ a.b TO 1; END LOOP; END", "SET"),
        ("BEGIN <<l>> RESET ROLE; END", "RESET"),
        ("BEGIN NULL; EXCEPTION WHEN others THEN LISTEN x; END", "LISTEN"),
        ("BEGIN CREATE TEMP TABLE t (a int); END", "CREATE"),
        ("BEGIN EXECUTE 'SELECT 1'; END", "EXECUTE of a text made at run time"),
        ("BEGIN RETURN QUERY EXECUTE $1; END", "EXECUTE of a text made at run time"),
        ("BEGIN FOR x IN EXECUTE q LOOP END LOOP; END", "EXECUTE of a text made at run time"),
        ("BEGIN CALL p(); END", "CALL"),
        ("BEGIN ELSE DISCARD PLANS; END", "DISCARD"),
        ('BEGIN PERFORM U&"\\0066"(); END', "a name that is read in more ways than one"),
        ("BEGIN PERFORM É(); END", "a name that is read in more ways than one"),
        ("BEGIN PERFORM " + "f" * 64 + "(); END", "a name that is read in more ways than one"),
        ('BEGIN PERFORM é(), "É"(), فارسی(); END', ""),
        ("BEGIN PERFORM pg_temp.f(); END", "a temporary object"),
    ],
)
def test_bodies_in_plpgsql(body: str, reason: str) -> None:
    assert body_effects("plpgsql", body).reason == reason


def test_every_word_of_a_body_may_be_a_name() -> None:
    effects = body_effects("plpgsql", 'BEGIN DELETE FROM Tab WHERE x @> "F"(1) AND r.g; END')
    assert Name("", "tab") in effects.writes
    assert effects.functions == {Name("", "F")}
    assert effects.fields == {"g"}
    assert Name("", "@>") in effects.operators
    assert effects.guessed


@pytest.mark.parametrize(
    ("call", "local"),
    [
        ("set_config('a', coalesce(x, f(1, 2)), true)", True),
        ("set_config('a', x, false)", False),
        ("set_config('a', x, NOT true)", False),
        ("set_config('a', x[1], true)", True),
        ("set_config(is_local => true)", False),
    ],
)
def test_settings_of_the_transaction_in_bodies(call: str, local: bool) -> None:
    effects = body_effects("plpgsql", f"BEGIN PERFORM {call}; END")
    assert effects.set_locally is local
    assert (Name("", "set_config") in effects.functions) is not local


def test_other_bodies() -> None:
    assert body_effects("sql", "SELECT f($1)").functions == {Name("", "f")}
    assert body_effects("sql", "SELECT syntax error here now").reason
    assert body_effects("plpython3u", "pass").reason == "language plpython3u"
    assert body_effects("plpgsql", "BEGIN 'unterminated").reason
    assert body_effects("sql", "") == Effects()
