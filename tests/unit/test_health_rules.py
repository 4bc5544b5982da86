"""The rules about sessions, counters, tables and installation, at the edges of their thresholds."""

from __future__ import annotations

import dataclasses
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.finding import Severity
from filban.health import CHECKS
from filban.health.activity import rules as activity
from filban.health.activity.connections import ConnectionThresholds, near_limit
from filban.health.activity.rows import ConnectionUse, HorizonHolder, Transaction
from filban.health.exhaustion import rules as exhaustion
from filban.health.exhaustion.rows import DatabaseAge, IntegerKey, SequenceUse, UnfrozenTable
from filban.health.exhaustion.wraparound import WraparoundThresholds, wraparound
from filban.health.tables import rules as tables
from filban.health.tables.rows import CacheUse, TableActivity, TableSpace
from filban.pg import parse

WARNING, CRITICAL, INFO = Severity.warning, Severity.critical, Severity.info


def severities(findings) -> list[Severity]:
    return [f.severity for f in findings]


def test_codes_are_each_of_one_check():
    codes = [code for check in CHECKS for code in check.codes]
    assert len(codes) == len(set(codes))


def use(used: int, **values) -> ConnectionUse:
    known = {
        "scope": "server", "name": None, "quoted": None, "allowed": 100, "reserved": 3,
        "used": used, "active": 1, "idle": used - 1, "idle_long": 0, "idle_in_transaction": 0,
        "hidden": 0, "terminate_idle_sql": "SELECT pg_terminate_backend(pid) …;",
    }  # fmt: skip
    return ConnectionUse(**(known | values))


@pytest.mark.parametrize(
    ("used", "expected"), [(79, []), (80, [WARNING]), (94, [WARNING]), (95, [CRITICAL])]
)
def test_connections(used, expected):
    assert severities(near_limit([use(used)], ConnectionThresholds())) == expected


def test_idle_connections_are_ended_only_where_that_is_enough():
    limits = ConnectionThresholds()
    [enough] = near_limit([use(90, idle_long=11)], limits)
    assert enough.fix.sql.startswith("SELECT pg_terminate_backend")
    [not_enough] = near_limit([use(90, idle_long=10)], limits)
    assert not_enough.fix.sql == "ALTER SYSTEM SET max_connections = 153;"
    [managed] = near_limit([use(90)], limits, "Amazon RDS")
    assert not managed.fix.sql
    assert "Amazon RDS" in managed.fix.advice


def test_states_are_not_given_as_zero_when_they_are_hidden():
    [finding] = near_limit([use(90, hidden=80)], ConnectionThresholds())
    assert "idle" not in finding.evidence


def transaction(state: str, seconds: float, application: str = "khabar") -> Transaction:
    return Transaction(
        1, "news", "app", application, None, state, seconds, seconds, 5, "SELECT 1", "SELECT …;"
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (4.9, []),
        (5, [INFO]),
        (299, [INFO]),
        (300, [WARNING]),
        (3599, [WARNING]),
        (3600, [CRITICAL]),
    ],
)
def test_idle_in_transaction(seconds, expected):
    rows = [transaction("idle in transaction", seconds)]
    limits = activity.TransactionThresholds()
    assert severities(activity.idle_in_transaction(rows, limits)) == expected
    assert severities(activity.long_transaction(rows, limits)) == []


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(59, []), (60, [INFO]), (1799, [INFO]), (1800, [WARNING]), (3600, [CRITICAL])],
)
def test_long_transaction(seconds, expected):
    limits = activity.TransactionThresholds()
    rows = [transaction("active", seconds)]
    assert severities(activity.long_transaction(rows, limits)) == expected
    assert severities(activity.idle_in_transaction(rows, limits)) == []
    dump = activity.long_transaction([transaction("active", seconds, "pg_dump")], limits)
    assert severities(dump) == [INFO] * len(expected)


@pytest.mark.parametrize(
    ("age", "expected"),
    [(9_999_999, []), (10_000_000, [WARNING]), (200_000_000, [CRITICAL])],
)
def test_held_horizon(age, expected):
    holders = [HorizonHolder("slot", "s", age, False, False, "SELECT …;")]
    limits = activity.TransactionThresholds()
    assert severities(activity.held_horizon(holders, limits)) == expected


# The server as it was reached: what a pasted command has to reach again.
THERE = parse("host=db.example port=5433 user=u dbname=app password=secret", env={})


def aged(age: int, *, limits: WraparoundThresholds, freeze: int = 200_000_000, here: bool = True):
    database = DatabaseAge("news", "news", here, True, age, 0)
    table = UnfrozenTable("public.t", "public.t", age, 0, 8192)
    return list(wraparound("xid", [database], [table], freeze, limits, THERE, standby=False))


@pytest.mark.parametrize(
    ("age", "freeze", "expected"),
    [
        (399_999_999, 200_000_000, []),
        (400_000_000, 200_000_000, [WARNING]),
        (1_600_000_000, 200_000_000, [WARNING]),
        (1_610_612_736, 200_000_000, [CRITICAL]),
        (1_009_317_313, 1_500_000_000, []),
        (1_009_317_315, 1_500_000_000, [WARNING]),
    ],
)
def test_wraparound(age, freeze, expected):
    assert severities(aged(age, freeze=freeze, limits=WraparoundThresholds())) == expected


def test_wraparound_of_another_database_is_a_command():
    [finding] = aged(500_000_000, limits=WraparoundThresholds(), here=False)
    assert shlex.split(finding.fix.command) == [
        "vacuumdb", "--freeze", "--dbname=postgresql://u@db.example:5433/news"
    ]  # fmt: skip
    assert "oldest_table" not in finding.evidence


def sequence(last: int | None, **values) -> SequenceUse:
    known = {
        "name": "public.s", "quoted": "public.s", "readable": True, "last_value": last,
        "increment": 1, "minimum": 1, "maximum": 2**63 - 1, "cycles": False,
        "sequence_type": "int8", "identity": False, "column_name": None, "column_type": None,
        "widen_sql": None,
    }  # fmt: skip
    return SequenceUse(**(known | values))


def judged(*uses: SequenceUse):
    return list(exhaustion.exhausted_sequences(uses, exhaustion.ExhaustionThresholds()))


@pytest.mark.parametrize(
    ("last", "expected"), [(None, []), (850, []), (851, [WARNING]), (952, [CRITICAL])]
)
def test_sequences(last, expected):
    assert severities(judged(sequence(last, maximum=1001))) == expected


def test_a_sequence_is_judged_by_its_narrowest_column():
    small = {"column_name": "a.b", "column_type": "int2", "widen_sql": "ALTER TABLE a …;"}
    wide = {"column_name": "c.d", "column_type": "int8", "widen_sql": "ALTER TABLE c …;"}
    [finding] = judged(sequence(32_000, **small), sequence(32_000, **wide))
    assert finding.evidence["column"].value == "a.b"
    assert finding.fix.sql == "ALTER TABLE a …;"


def test_a_sequence_by_tens_has_a_tenth_of_the_calls_left():
    [finding] = judged(sequence(900, maximum=1000, increment=10))
    assert finding.evidence["left"].value == 10


def test_a_sequence_past_what_its_column_holds():
    over = sequence(3_000_000_000, column_type="int4", column_name="a.b", widen_sql="ALTER …;")
    [finding] = judged(over)
    assert finding.severity == CRITICAL
    assert finding.evidence["left"].value == 0


@given(
    last=st.integers(-(2**63), 2**63 - 1),
    step=st.integers(-100, 100).filter(bool),
    low=st.integers(-(2**63), 2**63 - 2),
    column=st.sampled_from([None, "int2", "int4", "int8", "numeric"]),
)
def test_room_is_never_negative_and_never_fails(last, step, low, column):
    found = exhaustion.room(
        sequence(last, increment=step, minimum=low, maximum=low + 1, column_type=column)
    )
    assert found is None or (found.percent >= 0 and found.left >= 0)


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [
        (None, None, []),
        (1, 27_851, []),
        (1, 27_852, [WARNING]),
        (1, 31_129, [CRITICAL]),
        (-32_000, -1, [CRITICAL]),
        (-32_000, 32_000, []),  # hashes
    ],
)
def test_keys(lowest, highest, expected):
    key = IntegerKey("public.t.id", "int2", True, lowest, highest, "ALTER …;")
    limits = exhaustion.ExhaustionThresholds()
    assert severities(exhaustion.exhausted_keys([key], {}, limits)) == expected
    assert severities(exhaustion.exhausted_keys([key], {"public.t.id": 1}, limits)) == []


def table(**values) -> TableActivity:
    known = {
        "name": "public.t", "quoted": "public.t", "system": False, "partitioned": False,
        "rows": 100_000, "dead": 0, "modified": 0, "size_bytes": 8192, "analysed": True,
        "analysed_seconds_ago": 120.0, "vacuumed_seconds_ago": None, "vacuum_trigger": 20_050.0,
        "analyze_trigger": 10_050.0,
    }  # fmt: skip
    return TableActivity(**(known | values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"modified": 20_099}, 0),
        ({"modified": 20_100}, 1),
        ({"modified": 20_100, "analysed_seconds_ago": 119.0}, 0),
        ({"modified": 20_100, "analysed_seconds_ago": None}, 1),
        ({"analysed": False}, 1),
        ({"analysed": False, "rows": 999}, 0),
        ({"analysed": None, "modified": 50_000}, 0),
        ({"analysed": False, "system": True}, 0),
    ],
)
def test_stale_statistics(values, expected):
    rows = [table(**values)]
    assert len(list(tables.stale_statistics(rows, "news", tables.VacuumThresholds()))) == expected


def test_many_tables_without_statistics_are_one_finding():
    limits = tables.VacuumThresholds()
    some = [table(name=f"public.t{n}", analysed=False) for n in range(21)]
    assert len(list(tables.stale_statistics(some[:20], "news", limits))) == 20
    [finding] = tables.stale_statistics(some, "news", limits)
    assert finding.subject == "database news"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"dead": 40_099}, 0),
        ({"dead": 40_100}, 1),
        ({"dead": 9_999, "vacuum_trigger": 50.0}, 0),
        ({"dead": 10_000, "vacuum_trigger": 50.0}, 1),
    ],
)
def test_dead_tuples(values, expected):
    assert len(list(tables.dead_tuples([table(**values)], tables.VacuumThresholds()))) == expected


MB = 1024**2


@pytest.mark.parametrize(
    ("size", "needed", "expected"),
    [
        (200 * MB, 101 * MB, []),
        (200 * MB, 100 * MB, [WARNING]),
        (300 * MB, 151 * MB, []),  # 149 MB, but less than half
        (99 * MB, 0, [INFO]),
        (10 * MB, 0, [INFO]),
        (10 * MB - 1, 0, []),
        (200 * MB, None, []),
    ],
)
def test_bloat(size, needed, expected):
    space = TableSpace("public.t", "public.t", size, needed, True)
    assert severities(tables.bloat([space], tables.BloatThresholds())) == expected


@pytest.mark.parametrize(
    ("hit", "read", "expected"),
    [
        (0, 99_999, []),
        (899_999, 100_001, [WARNING]),
        (900_000, 100_000, [INFO]),
        (9_900_000, 100_000, []),
    ],
)
def test_cache(hit, read, expected):
    found = tables.cache_hit(CacheUse(hit, read, 60.0), 128 * MB, tables.CacheThresholds())
    assert severities(found) == expected


def test_thresholds_are_numbers_with_names_of_their_own():
    names: list[str] = []
    for check in CHECKS:
        for field in dataclasses.fields(check.thresholds):
            assert isinstance(field.default, int | float), field.name
            names.append(field.name)
    assert len(names) == len(set(names))
