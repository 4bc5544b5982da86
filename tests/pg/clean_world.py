"""A database in which everything that runs code of its own can change the session, and a probe.

`ACTIONS` are the ways a function can change its session. For each the world has functions,
triggers, views, rules, policies, operators and so on that do it; `carriers(action)` are statements
that reach them. `PROBE` lists what one session may leave to the next.
"""

from __future__ import annotations

import json
from typing import Any

import asyncpg

from filban.pool.reset import full_reset

# The ten kinds of state that a pool must not hand on, as statements.
TEN_KINDS = {
    "setting": "SET work_mem = '77MB'",
    "search_path": "SET search_path = evil, public",
    "role": "SET ROLE other",
    "session authorization": "SET SESSION AUTHORIZATION other",
    "temporary table": "CREATE TEMP TABLE t (a int)",
    "prepared statement": "PREPARE left_behind AS SELECT 1",
    "cursor": "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
    "advisory lock": "SELECT pg_advisory_lock(77)",
    "listen": "LISTEN left_behind",
    "open transaction": "BEGIN; SET LOCAL work_mem = '77MB'; LOCK TABLE evil.plain",
}

# What else is tried directly.
MORE_STATEMENTS = [
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET TIME ZONE 'Asia/Tehran'",
    "SET NAMES 'SQL_ASCII'",
    "SET XML OPTION DOCUMENT",
    "SET evil.setting = 'x'",
    "BEGIN; SET work_mem = '77MB'; COMMIT",
    "SELECT 1; SET work_mem = '77MB'; SELECT 2",
    "SELECT set_config('work_mem', '77MB', false)",
    "SELECT set_config('role', 'other', false)",
    "SELECT set_config('session_authorization', 'other', false)",
    "UPDATE pg_settings SET setting = '77' WHERE name = 'work_mem'",
    "CREATE TEMP VIEW t AS SELECT 1",
    "CREATE TEMP SEQUENCE t",
    "CREATE TEMP TABLE t AS SELECT 1",
    "SELECT 1 AS a INTO TEMP t",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TYPE pg_temp.t AS (a int)",
    "SELECT pg_try_advisory_lock_shared(78)",
    "SELECT setseed(0.5)",
    "DO $$ BEGIN PERFORM pg_advisory_lock(79); END $$",
    "CALL evil.procedure()",
    "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 3); COMMIT",
    "EXPLAIN ANALYZE SELECT pg_advisory_lock(80)",
    "COPY (SELECT pg_advisory_lock(81)) TO '/dev/null'",
    "WITH x AS (SELECT pg_advisory_lock(82)) SELECT * FROM x",
    "SELECT query_to_xml('SELECT pg_advisory_lock(83)', true, true, '')",
    "SELECT table_to_xml('evil.locking', true, true, '')",
    "SELECT * FROM ts_stat('SELECT to_tsvector(pg_advisory_lock(85)::text)')",
    "INSERT INTO evil.serial (a) VALUES (1)",
    "INSERT INTO evil.identity (a) VALUES (1)",
    "SELECT nextval('evil.serial_id_seq')",
    "PREPARE left_behind AS SELECT pg_advisory_lock(84); EXECUTE left_behind",
    "BEGIN; SAVEPOINT a; SET work_mem = '77MB'; RELEASE a; COMMIT",
    "BEGIN; SELECT pg_advisory_lock(86); ROLLBACK",
    "BEGIN; SELECT 1/0",
]

# What a lease may do without leaving anything.
HARMLESS = [
    "SELECT 1",
    "SELECT count(*) FROM evil.plain",
    "INSERT INTO evil.plain (id, a) VALUES (1, 'x')",
    "UPDATE evil.plain SET a = upper(a)",
    "DELETE FROM evil.plain",
    "BEGIN; SET LOCAL work_mem = '66MB'; SELECT 1; COMMIT",
    "BEGIN; SET LOCAL ROLE other; ROLLBACK",
    "BEGIN; SELECT set_config('work_mem', '66MB', true); COMMIT",
    "SELECT set_config('role', 'other', true)",
    "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c; COMMIT",
    "SELECT pg_advisory_xact_lock(66)",
    "SET LOCAL work_mem = '66MB'",
    "SELECT 1/0",
    "NOTIFY left_behind",
]

# How a function changes its session, as the body of a PL/pgSQL function.
ACTIONS = {
    "lock": "PERFORM pg_advisory_lock(90);",
    "config": "PERFORM set_config('work_mem', '77MB', false);",
    "set": "SET work_mem = '77MB';",
    "seed": "PERFORM setseed(0.5);",
    "role": "PERFORM set_config('role', 'other', false);",
    "listen": "EXECUTE 'LISTEN left_behind';",
    "temp": "EXECUTE 'CREATE TEMP TABLE IF NOT EXISTS t (a int)';",
    "temp plainly": "CREATE TEMP TABLE IF NOT EXISTS t (a int);",
    "prepare": "IF NOT EXISTS (SELECT FROM pg_prepared_statements WHERE from_sql)"
    " THEN EXECUTE 'PREPARE left_behind AS SELECT 1'; END IF;",
    "cursor": "IF NOT EXISTS (SELECT FROM pg_cursors WHERE is_holdable) THEN"
    " EXECUTE 'DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1'; END IF;",
    "sequence": "PERFORM nextval('evil.serial_id_seq');",
    "insert": "INSERT INTO evil.identity (a) VALUES (1);",
    "settings view": "UPDATE pg_settings SET setting = '77' WHERE name = 'work_mem';",
    "nested": "PERFORM evil.helper();",
    "by operator": "PERFORM 1 OPERATOR(evil.@!!@) 2;",
    "by row": "SET LOCAL search_path = evil; PERFORM x.of_row FROM evil.plain x;",
    "by view": "PERFORM * FROM evil.locking;",
    "by default": "INSERT INTO evil.by_default (a) VALUES (1);",
}

# Of these the only trace is what currval() and lastval() answer.
SEQUENCE_ACTIONS = frozenset({"sequence", "insert"})

WORLD = """
CREATE SCHEMA evil;
GRANT ALL ON SCHEMA evil TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA evil GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA evil GRANT ALL ON SEQUENCES TO PUBLIC;
CREATE TABLE evil.plain (id int, a text);
INSERT INTO evil.plain VALUES (0, 'zero');
CREATE TABLE evil.serial (id serial, a int);
CREATE TABLE evil.identity (id int GENERATED ALWAYS AS IDENTITY, a int);
CREATE VIEW evil.locking AS SELECT pg_advisory_lock(84)::text AS x;
CREATE FUNCTION evil.helper() RETURNS int LANGUAGE sql
    AS 'SELECT set_config(''work_mem'', ''77MB'', false); SELECT 1';
CREATE FUNCTION evil.add(int, int) RETURNS int LANGUAGE sql AS 'SELECT evil.helper()';
CREATE OPERATOR evil.@!!@ (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.add);
CREATE FUNCTION evil.of_row(evil.plain) RETURNS int LANGUAGE sql AS 'SELECT evil.helper()';
CREATE TABLE evil.by_default (a int, b int DEFAULT evil.helper());
CREATE PROCEDURE evil.procedure() LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.helper(); END $$;
"""

# Everything that can run the function, for one action. All of it is in a schema of its own.
PER_ACTION = """
CREATE SCHEMA {s};
GRANT ALL ON SCHEMA {s} TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA {s} GRANT ALL ON TABLES TO PUBLIC;
SET LOCAL search_path = {s}, public;
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN {action} RETURN 1; END $$;
CREATE FUNCTION f1(anyelement) RETURNS int LANGUAGE plpgsql
    AS $$ BEGIN {action} RETURN 1; END $$;
-- A lie that PostgreSQL does not check, though it refuses commands in it.
CREATE FUNCTION immutable(anyelement) RETURNS int LANGUAGE plpgsql IMMUTABLE
    AS $$ BEGIN {action} RETURN 1; END $$;
CREATE FUNCTION in_sql() RETURNS int LANGUAGE sql AS 'SELECT {s}.f()';
CREATE FUNCTION atomic() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT f(); END;
CREATE FUNCTION atomic_deep() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT * FROM atomic(); END;
CREATE FUNCTION in_plpgsql() RETURNS int LANGUAGE plpgsql
    AS $$ DECLARE x int := 2; BEGIN IF x > 1 THEN x := {s}.in_sql(); END IF; RETURN x; END $$;
CREATE FUNCTION by_argument(x int DEFAULT f()) RETURNS int LANGUAGE sql AS 'SELECT x';
CREATE FUNCTION trig() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN {action} RETURN coalesce(NEW, OLD); END $$;
CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RETURN coalesce(NEW, OLD); END $$;

CREATE TABLE before_insert (a int);
CREATE TRIGGER x BEFORE INSERT ON before_insert FOR EACH ROW EXECUTE FUNCTION trig();
CREATE TABLE after_update (a int);
INSERT INTO after_update VALUES (1);
CREATE TRIGGER x AFTER UPDATE ON after_update FOR EACH STATEMENT EXECUTE FUNCTION trig();
CREATE TABLE on_truncate (a int);
CREATE TRIGGER x BEFORE TRUNCATE ON on_truncate EXECUTE FUNCTION trig();
CREATE TABLE deferred (a int);
CREATE CONSTRAINT TRIGGER x AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION trig();
CREATE TABLE with_when (a int);
CREATE TRIGGER x BEFORE INSERT ON with_when FOR EACH ROW WHEN (f1(NEW.a) > 0)
    EXECUTE FUNCTION quiet();

CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (parent_id int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO parent VALUES (2);
INSERT INTO child VALUES (2);
CREATE TRIGGER x AFTER DELETE OR UPDATE ON child FOR EACH ROW EXECUTE FUNCTION trig();
CREATE TABLE grand (id int PRIMARY KEY);
CREATE TABLE middle (id int PRIMARY KEY REFERENCES grand ON DELETE CASCADE);
CREATE TABLE leaf (id int REFERENCES middle ON DELETE SET NULL);
CREATE TRIGGER x AFTER UPDATE ON leaf FOR EACH ROW EXECUTE FUNCTION trig();

CREATE TABLE partitioned (a int) PARTITION BY LIST (a);
CREATE TABLE partition_1 PARTITION OF partitioned FOR VALUES IN (1);
CREATE TRIGGER x BEFORE INSERT ON partition_1 FOR EACH ROW EXECUTE FUNCTION trig();
CREATE TABLE ancestor (a int);
CREATE TABLE heir () INHERITS (ancestor);
INSERT INTO heir VALUES (1);
CREATE TRIGGER x BEFORE UPDATE ON heir FOR EACH ROW EXECUTE FUNCTION trig();

CREATE VIEW v AS SELECT f() AS x;
CREATE VIEW v_of_v AS SELECT x + 1 AS y FROM v;
CREATE VIEW v_in_sub AS SELECT 1 AS x WHERE 1 IN (SELECT x FROM v);
CREATE VIEW v_over AS SELECT a FROM before_insert;
CREATE VIEW v_instead AS SELECT 1 AS a;
CREATE TRIGGER x INSTEAD OF INSERT ON v_instead FOR EACH ROW EXECUTE FUNCTION trig();
CREATE TABLE ruled (a int);
CREATE RULE r AS ON INSERT TO ruled DO ALSO SELECT f();
CREATE TABLE ruled_to (a int);
CREATE RULE r AS ON INSERT TO ruled_to DO INSTEAD INSERT INTO before_insert VALUES (NEW.a);

CREATE TABLE secured (a int);
INSERT INTO secured VALUES (1);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON secured USING (f1(a) > 0) WITH CHECK (f1(a) > 0);

CREATE TABLE defaulted (a int, b int DEFAULT f());
CREATE TABLE checked (a int CHECK (f1(a) > 0));
CREATE TABLE generated (a int, b int GENERATED ALWAYS AS (immutable(a)) STORED);
CREATE TABLE indexed (a int);
CREATE INDEX ON indexed (immutable(a));
CREATE TABLE indexed_partly (a int);
CREATE INDEX ON indexed_partly (a) WHERE immutable(a) > 0;
CREATE TABLE excluded (a int, EXCLUDE USING btree ((immutable(a) + a) WITH =));
CREATE DOMAIN checked_domain AS int CHECK (f1(VALUE) > 0);
CREATE TABLE of_domain (a checked_domain);
CREATE TYPE pair AS (a checked_domain, b int);
CREATE TABLE of_pairs (a pair[]);
CREATE DOMAIN over_domain AS checked_domain;

CREATE FUNCTION op(int, int) RETURNS boolean LANGUAGE plpgsql
    AS $$ BEGIN {action} RETURN true; END $$;
CREATE OPERATOR @~~@ (LEFTARG = int, RIGHTARG = int, FUNCTION = op);
CREATE TYPE wrapped AS (a int);
CREATE FUNCTION to_int(wrapped) RETURNS int LANGUAGE plpgsql
    AS $$ BEGIN {action} RETURN 1; END $$;
CREATE CAST (wrapped AS int) WITH FUNCTION to_int(wrapped) AS IMPLICIT;
CREATE TABLE of_wrapped (a wrapped);
INSERT INTO of_wrapped VALUES (ROW(1)), (ROW(2));
CREATE TYPE ordered AS (a int);
CREATE FUNCTION lt(ordered, ordered) RETURNS boolean LANGUAGE sql AS 'SELECT ($1).a < ($2).a';
CREATE FUNCTION eq(ordered, ordered) RETURNS boolean LANGUAGE sql AS 'SELECT ($1).a = ($2).a';
CREATE FUNCTION cmp(ordered, ordered) RETURNS int LANGUAGE plpgsql
    AS $$ BEGIN {action} RETURN ($1).a - ($2).a; END $$;
CREATE OPERATOR <! (LEFTARG = ordered, RIGHTARG = ordered, FUNCTION = lt);
CREATE OPERATOR =! (LEFTARG = ordered, RIGHTARG = ordered, FUNCTION = eq);
CREATE OPERATOR CLASS ordered_ops DEFAULT FOR TYPE ordered USING btree
    AS OPERATOR 1 <!, OPERATOR 3 =!, FUNCTION 1 cmp(ordered, ordered);
CREATE TABLE of_ordered (a ordered);
INSERT INTO of_ordered VALUES (ROW(1)), (ROW(1)), (ROW(2));
CREATE TYPE equal AS (a int);
CREATE FUNCTION lt(equal, equal) RETURNS boolean LANGUAGE sql AS 'SELECT ($1).a < ($2).a';
CREATE FUNCTION eq(equal, equal) RETURNS boolean LANGUAGE plpgsql
    AS $$ BEGIN {action} RETURN ($1).a = ($2).a; END $$;
CREATE FUNCTION cmp(equal, equal) RETURNS int LANGUAGE sql AS 'SELECT ($1).a - ($2).a';
CREATE OPERATOR <! (LEFTARG = equal, RIGHTARG = equal, FUNCTION = lt);
CREATE OPERATOR =! (LEFTARG = equal, RIGHTARG = equal, FUNCTION = eq);
CREATE OPERATOR CLASS equal_ops DEFAULT FOR TYPE equal USING btree
    AS OPERATOR 1 <!, OPERATOR 3 =!, FUNCTION 1 cmp(equal, equal);
CREATE TABLE of_equal (a equal);
INSERT INTO of_equal VALUES (ROW(1)), (ROW(1)), (ROW(2));
CREATE FUNCTION int_cmp(int, int) RETURNS int LANGUAGE plpgsql
    AS $$ BEGIN {action} RETURN $1 - $2; END $$;
CREATE OPERATOR CLASS other_ops FOR TYPE int USING btree
    AS OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 int_cmp(int, int);
CREATE TABLE by_other_class (a int);
CREATE INDEX ON by_other_class (a other_ops);
CREATE FUNCTION int_eq(int, int) RETURNS boolean LANGUAGE plpgsql
    AS $$ BEGIN {action} RETURN $1 = $2; END $$;
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int_eq, COMMUTATOR = ===);
CREATE OPERATOR CLASS excluding_ops FOR TYPE int USING btree
    AS OPERATOR 1 <, OPERATOR 3 ===, FUNCTION 1 btint4cmp(int, int);
CREATE TABLE excluding (a int, EXCLUDE USING btree (a excluding_ops WITH ===));
CREATE TABLE by_class (a int) PARTITION BY RANGE (a other_ops);
CREATE DOMAIN defaulted_domain AS int DEFAULT f();
CREATE TABLE of_defaulted_domain (a int, b defaulted_domain);
CREATE FUNCTION gives_domain() RETURNS checked_domain LANGUAGE plpgsql
    AS $$ BEGIN RETURN 1; END $$;
CREATE TABLE by_expression (a int) PARTITION BY LIST (immutable(a));
CREATE TABLE by_expression_1 PARTITION OF by_expression FOR VALUES IN (1);
CREATE FUNCTION step(int, int) RETURNS int LANGUAGE plpgsql
    AS $$ BEGIN {action} RETURN 1; END $$;
CREATE AGGREGATE agg(int) (SFUNC = step, STYPE = int, INITCOND = '0');
CREATE FUNCTION diff(int, int) RETURNS float8 LANGUAGE plpgsql IMMUTABLE
    AS $$ BEGIN {action} RETURN 1; END $$;
CREATE TYPE spans AS RANGE (SUBTYPE = int, SUBTYPE_DIFF = diff);
CREATE TABLE of_spans (a spans);
CREATE INDEX ON of_spans USING gist (a);
CREATE TABLE rowed (a int);
INSERT INTO rowed VALUES (1);
CREATE FUNCTION as_field(rowed) RETURNS int LANGUAGE plpgsql
    AS $$ BEGIN {action} RETURN 1; END $$;
-- Named like a built-in: which one is meant depends on the arguments.
CREATE FUNCTION lower(int) RETURNS int LANGUAGE plpgsql
    AS $$ BEGIN {action} RETURN 1; END $$;
CREATE FUNCTION in_merge() RETURNS int LANGUAGE sql
    AS 'UPDATE {s}.after_update SET a = 1; SELECT 1';
-- Last, because it compares: whatever that does to the session, no more is made in it.
CREATE TABLE by_class_1 PARTITION OF by_class FOR VALUES FROM (1) TO (5);
"""

# Through what each action is reached.
CARRIERS = {
    "call": "SELECT {s}.f()",
    "call unqualified": "SET LOCAL search_path = {s}; SELECT f()",
    "call in FROM": "SELECT * FROM {s}.f() AS x",
    "SQL function": "SELECT {s}.in_sql()",
    "BEGIN ATOMIC": "SELECT {s}.atomic()",
    "BEGIN ATOMIC twice": "SELECT {s}.atomic_deep()",
    "PL/pgSQL function": "SELECT {s}.in_plpgsql()",
    "function that writes": "SELECT {s}.in_merge()",
    "default argument": "SELECT {s}.by_argument()",
    "BEFORE trigger": "INSERT INTO {s}.before_insert VALUES (1)",
    "COPY and a trigger": "COPY {s}.before_insert FROM PROGRAM 'echo 1'",
    "AFTER trigger": "UPDATE {s}.after_update SET a = 2",
    "WITH and a trigger": "WITH x AS (UPDATE {s}.after_update SET a = 3 RETURNING a) TABLE x",
    "TRUNCATE trigger": "TRUNCATE {s}.on_truncate",
    "deferred trigger": "BEGIN; INSERT INTO {s}.deferred VALUES (1); COMMIT",
    "WHEN of a trigger": "INSERT INTO {s}.with_when VALUES (1)",
    "ON DELETE CASCADE": "INSERT INTO {s}.parent VALUES (1) ON CONFLICT DO NOTHING;"
    " INSERT INTO {s}.child VALUES (1); DELETE FROM {s}.parent WHERE id = 1",
    "ON UPDATE CASCADE": "UPDATE {s}.parent SET id = 1002 - id WHERE id IN (2, 1000)",
    "cascade over two tables": "INSERT INTO {s}.grand VALUES (1);"
    " INSERT INTO {s}.middle VALUES (1); INSERT INTO {s}.leaf VALUES (1); DELETE FROM {s}.grand",
    "trigger of a partition": "INSERT INTO {s}.partitioned VALUES (1)",
    "trigger of an heir": "UPDATE {s}.ancestor SET a = 2",
    "view": "SELECT * FROM {s}.v",
    "view of a view": "SELECT y FROM {s}.v_of_v",
    "view in a sub-select": "SELECT x FROM {s}.v_in_sub",
    "WITH named like the view": "WITH v AS (SELECT 1) SELECT * FROM {s}.v",
    "updatable view": "INSERT INTO {s}.v_over VALUES (1)",
    "INSTEAD OF trigger": "INSERT INTO {s}.v_instead VALUES (1)",
    "rule": "INSERT INTO {s}.ruled VALUES (1)",
    "rule to a trigger": "INSERT INTO {s}.ruled_to VALUES (1)",
    "default": "INSERT INTO {s}.defaulted (a) VALUES (1)",
    "check": "INSERT INTO {s}.checked VALUES (1)",
    "generated column": "INSERT INTO {s}.generated (a) VALUES (1)",
    "index expression": "INSERT INTO {s}.indexed VALUES (1)",
    "index predicate": "INSERT INTO {s}.indexed_partly VALUES (1)",
    "exclusion constraint": "INSERT INTO {s}.excluded VALUES (1)",
    "domain": "SELECT 1::{s}.checked_domain",
    "column of a domain": "INSERT INTO {s}.of_domain VALUES (1)",
    "domain in a row in an array": "INSERT INTO {s}.of_pairs VALUES ('{{\"(1,2)\"}}')",
    "domain over a domain": "SELECT '1'::{s}.over_domain",
    "operator": "SELECT 1 OPERATOR({s}.@~~@) 2",
    "operator with ANY": "SELECT 1 OPERATOR({s}.@~~@) ANY (ARRAY[1, 2])",
    "cast": "SELECT ROW(1)::{s}.wrapped::int",
    "implicit cast": "SELECT a + 1 FROM {s}.of_wrapped",
    "default order": "SELECT a FROM {s}.of_ordered ORDER BY a",
    "default equality": "SELECT DISTINCT a FROM {s}.of_equal",
    "operator class": "INSERT INTO {s}.by_other_class VALUES (1), (2)",
    "exclusion with an operator": "INSERT INTO {s}.excluding VALUES (1) ON CONFLICT DO NOTHING;"
    " INSERT INTO {s}.excluding VALUES (1) ON CONFLICT DO NOTHING",
    "operator class of a partition key": "INSERT INTO {s}.by_class VALUES (2)",
    "default of a domain": "INSERT INTO {s}.of_defaulted_domain (a) VALUES (1)",
    "domain as result": "SELECT {s}.gives_domain()",
    "partition by an expression": "INSERT INTO {s}.by_expression VALUES (1)",
    "aggregate": "SELECT {s}.agg(x) FROM generate_series(1, 3) AS x",
    "aggregate as window": "SELECT {s}.agg(x) OVER () FROM generate_series(1, 3) AS x",
    "range type": "INSERT INTO {s}.of_spans SELECT {s}.spans(x, x + 5)"
    " FROM generate_series(1, 2000) AS x",
    "attribute notation": "SET LOCAL search_path = {s}; SELECT r.as_field FROM rowed AS r",
    "attribute of a row": "SET LOCAL search_path = {s};"
    " SELECT (x).as_field FROM (SELECT r AS x FROM rowed AS r) AS y",
    "overloaded built-in": "BEGIN; SET LOCAL search_path = {s}; SELECT lower(1); COMMIT",
    "EXPLAIN ANALYZE": "EXPLAIN ANALYZE SELECT {s}.f()",
    "DECLARE": "BEGIN; DECLARE c CURSOR FOR SELECT {s}.f(); FETCH c; COMMIT",
    "COPY of a query": "COPY (SELECT {s}.f()) TO PROGRAM 'cat > /dev/null'",
    "two statements": "SELECT 1; SELECT {s}.f()",
}
# These need PostgreSQL 15.
SINCE_15 = {
    "MERGE": "MERGE INTO {s}.after_update AS t USING (SELECT 1) AS x ON true"
    " WHEN MATCHED THEN UPDATE SET a = 5",
}
# A superuser is not subject to policies.
AS_OTHER = {
    "policy": "SELECT * FROM {s}.secured",
    "policy's check": "INSERT INTO {s}.secured VALUES (1)",
}


def schema_of(action: str) -> str:
    return "on_" + action.replace(" ", "_")


def carriers(action: str, major: int) -> dict[str, str]:
    """Name -> statement, for a session of a superuser."""
    every = {**CARRIERS, **(SINCE_15 if major >= 15 else {})}
    every |= {name: f"BEGIN; SET LOCAL ROLE other; {sql}; COMMIT" for name, sql in AS_OTHER.items()}
    return {name: sql.format(s=schema_of(action)) for name, sql in every.items()}


async def build(connection: asyncpg.Connection[Any], actions: list[str]) -> None:
    if not await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = 'other'"):
        await connection.execute("CREATE ROLE other")
    await connection.execute(WORLD)
    for action in actions:
        sql = PER_ACTION.replace("{s}", schema_of(action)).replace("{action}", ACTIONS[action])
        await connection.execute(f"BEGIN; {sql}; COMMIT")
        await full_reset(connection)


# What one session may leave to the next, as one JSON object. Not `application_name`: no state of a
# lease. A custom setting that was set once reads as '' for ever after: PostgreSQL has no way back.
PROBE = """
SELECT json_build_object(
    'current_user', current_user,
    'session_user', session_user,
    'settings', (SELECT json_object_agg(name, setting ORDER BY name) FROM pg_settings
                 WHERE NOT (name LIKE '%.%' AND setting = '')
                   AND name NOT IN ('in_hot_standby', 'transaction_isolation',
                                    'transaction_deferrable')),
    'evil.setting', coalesce(current_setting('evil.setting', true), ''),
    'temporary', (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())
               + (SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema())
               + (SELECT count(*) FROM pg_type WHERE typnamespace = pg_my_temp_schema()),
    'prepared', (SELECT count(*) FROM pg_prepared_statements WHERE from_sql),
    'cursors', (SELECT count(*) FROM pg_cursors WHERE name <> ''),
    'locks', (SELECT count(*) FROM pg_locks
              WHERE pid = pg_backend_pid()
                AND (locktype = 'advisory' OR relation >= 16384)),
    'listening', (SELECT count(*) FROM pg_listening_channels()),
    'seeded', random()
)::text
"""


async def seeded_values(connection: asyncpg.Connection[Any]) -> set[float]:
    """What random() gives after setseed(0.5)."""
    await connection.execute("SELECT setseed(0.5)")
    rows = await connection.fetch("SELECT random() AS x FROM generate_series(1, 200)")
    return {row["x"] for row in rows}


async def probe(connection: asyncpg.Connection[Any], seeded: set[float]) -> dict[str, Any]:
    """Everything the next borrower could find."""
    # A simple query: no statement of asyncpg's is prepared for it.
    in_transaction = connection.is_in_transaction()
    if in_transaction:
        return {"in_transaction": True}
    found: dict[str, Any] = json.loads(await connection.fetchval(PROBE))
    found["seeded"] = found["seeded"] in seeded
    try:
        found["lastval"] = await connection.fetchval("SELECT lastval()")
    except asyncpg.ObjectNotInPrerequisiteStateError:
        found["lastval"] = None
    return found
