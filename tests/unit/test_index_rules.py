"""The rules about indexes, without a server: thresholds to the unit, and what may never be said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.finding import Severity
from filban.index.upkeep import bloat, foreign_keys, invalid, redundancy, unused
from filban.index.upkeep.partitions import whole
from filban.index.upkeep.rows import ForeignKey, Index, IndexSpace
from filban.index.upkeep.thresholds import (
    ForeignKeyThresholds,
    IndexBloatThresholds,
    UsageThresholds,
)

INDEX = Index(
    oid=1, table_oid=100, name="public.i", quoted="public.i", table_name="public.t",
    access_method="btree", keys="1", key_count=1, opclasses="10", collations="0", options="0",
    expressions=None, predicate=None, is_readable=True, opclass_options=None, storage_options=None,
    is_unique=False, is_immediate=True, nulls_not_distinct=False, is_primary=False,
    is_exclusion=False, is_replica_identity=False, is_clustered=False, has_constraint=False,
    is_referenced=False, is_valid=True, is_maintained=True, is_live=True, busy=False,
    is_partitioned=False, parent_oid=None, size_bytes=8192, scans=0, entries_written=0,
    is_toast=False,
)  # fmt: skip
KEY = ForeignKey(
    oid=500, parent_oid=None, name="fk", table_oid=100, table_name="public.t",
    is_partitioned=False, columns=(1,), column_names=("a",), collations=(0,),
    columns_not_null=("(a IS NOT NULL)",), referenced_name="public.u", rows=0, size_bytes=0,
    referenced_deletes=0,
)  # fmt: skip
SPACE = IndexSpace(
    name="public.i", quoted="public.i", table_name="public.t", size_bytes=0, page_bytes=8192,
    rows=1_000_000, fillfactor=90, key_bytes=4, distinct_keys=1_000_000, is_nullable=False,
    is_visible=True, is_unique=False, deduplicates=True,
)  # fmt: skip

PROMISES = (
    {"has_constraint": True},
    {"is_primary": True},
    {"is_exclusion": True},
    {"is_replica_identity": True},
    {"is_referenced": True},
    {"parent_oid": 7},
)


def keyed(oid: int, *columns: int, unique: bool = False, constraint: bool = False) -> Index:
    zeros = " ".join("0" for _ in columns)
    return replace(
        INDEX, oid=oid, name=f"public.i{oid}", keys=" ".join(map(str, columns)),
        key_count=len(columns), opclasses=zeros, collations=zeros, options=zeros,
        is_unique=unique or constraint, has_constraint=constraint,
    )  # fmt: skip


specs = st.builds(
    lambda columns, unique, constraint: (tuple(columns), unique, constraint),
    st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(specs, max_size=8))
def test_whatever_goes_something_that_stays_answers_for_it(wanted):
    indexes = [
        keyed(n, *columns, unique=unique, constraint=constraint)
        for n, (columns, unique, constraint) in enumerate(wanted, 1)
    ]
    found = redundancy.superfluous(indexes)
    gone = {s.index.oid for s in found}
    assert len(gone) == len(found)
    for one in found:
        assert one.index.columns == one.kept.columns[: len(one.index.columns)]
        assert not one.index.has_constraint
    staying = [i for i in indexes if i.oid not in gone]
    for index in indexes:
        assert any(k.columns[: len(index.columns)] == index.columns for k in staying)
        if index.is_unique:
            assert any(k.is_unique and k.columns == index.columns for k in staying)
    assert redundancy.superfluous(staying) == []


@given(st.lists(specs, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(wanted, random):
    indexes = [keyed(n, *c, unique=u, constraint=k) for n, (c, u, k) in enumerate(wanted, 1)]
    shuffled = random.sample(indexes, len(indexes))
    assert redundancy.superfluous(indexes) == redundancy.superfluous(shuffled)


def test_tables_are_not_mixed_and_unreadable_ones_left_out():
    other = replace(INDEX, oid=2, table_oid=101)
    locked = replace(INDEX, oid=3, is_readable=False)
    broken = replace(INDEX, oid=4, is_valid=False)
    assert redundancy.superfluous([INDEX, other, locked, broken]) == []


@pytest.mark.parametrize(("size", "severity"), [(99, Severity.info), (100, Severity.warning)])
def test_the_size_from_which_a_prefix_is_a_warning(size, severity):
    found = redundancy.superfluous([replace(keyed(1, 1), size_bytes=size), keyed(2, 1, 2)])
    [finding] = redundancy.findings(found, {}, UsageThresholds(redundant_warning_bytes=100))
    assert finding.severity == severity


@pytest.mark.parametrize("promise", PROMISES)
def test_who_keeps_a_promise_is_never_superfluous_or_unused(promise):
    index = replace(INDEX, **promise)
    young = replace(INDEX, oid=0)
    assert [s.index for s in redundancy.superfluous([young, index])] in ([young], [])
    assert unused.unused([index], [], UsageThresholds(unused_minimum_bytes=0)) == []


@pytest.mark.parametrize(("scans", "size", "found"), [(0, 100, 1), (0, 99, 0), (1, 100, 0)])
def test_the_edges_of_unused(scans, size, found):
    index = replace(INDEX, scans=scans, size_bytes=size)
    limits = UsageThresholds(unused_minimum_bytes=100)
    assert len(unused.unused([index], [], limits)) == found


def test_the_parts_of_a_partitioned_index_count_for_it():
    top = replace(INDEX, oid=1, is_partitioned=True, size_bytes=0)
    middle = replace(INDEX, oid=2, is_partitioned=True, parent_oid=1, size_bytes=0)
    leaf = replace(INDEX, oid=3, parent_oid=2, size_bytes=100, entries_written=5)
    limits = UsageThresholds(unused_minimum_bytes=100)
    [found] = unused.unused(whole([leaf, middle, top]), [], limits)
    assert (found.oid, found.size_bytes, found.entries_written) == (1, 100, 5)
    assert unused.unused(whole([replace(leaf, scans=1), middle, top]), [], limits) == []


def test_the_only_index_of_a_foreign_key_is_not_unused():
    limits = UsageThresholds(unused_minimum_bytes=0)
    assert unused.unused([INDEX], [KEY], limits) == []
    larger = replace(INDEX, oid=INDEX.oid + 1, size_bytes=INDEX.size_bytes + 1)
    assert unused.unused([INDEX, larger], [KEY], limits) == [larger]
    assert unused.unused([replace(INDEX, scans=1), larger], [KEY], limits) == [larger]


@pytest.mark.parametrize(
    ("predicate", "supported"),
    [
        (None, True),
        ("(a IS NOT NULL)", True),
        ("(b IS NOT NULL)", False),
        ("(a IS NULL)", False),
        ("(NOT (a IS NOT NULL))", False),
        ("((a IS NOT NULL) AND (a > 0))", False),
    ],
)
def test_predicates_that_a_foreign_key_can_do_with(predicate, supported):
    assert foreign_keys.supports(replace(INDEX, predicate=predicate), KEY) is supported


@pytest.mark.parametrize(
    ("rows", "deletes", "severity"),
    [
        (999, 0, Severity.info),
        (1000, 0, Severity.warning),
        (99, 100, Severity.info),
        (100, 100, Severity.warning),
    ],
)
def test_the_weight_of_a_missing_index(rows, deletes, severity):
    limits = ForeignKeyThresholds(foreign_key_warning_rows=1000, foreign_key_scanned_rows=10_000)
    found = foreign_keys.unsupported([replace(KEY, rows=rows, referenced_deletes=deletes)], [])
    [finding] = foreign_keys.findings(found, {}, limits)
    assert finding.severity == severity


@pytest.mark.parametrize(
    ("name", "constraint", "sql"),
    [
        ("t_a_ccnew", False, "DROP INDEX CONCURRENTLY"),
        ("t_a_ccold12", False, "DROP INDEX CONCURRENTLY"),
        ("t_ccnew_a", False, "REINDEX INDEX CONCURRENTLY"),
        ("t_a_ccold", True, "REINDEX INDEX CONCURRENTLY"),
    ],
)
def test_leftovers_are_dropped_and_half_built_ones_finished(name, constraint, sql):
    index = replace(INDEX, name=name, is_valid=False, has_constraint=constraint)
    [finding] = invalid.findings([index], {})
    assert finding.fix.sql.startswith(sql)


def test_who_is_at_work_is_left_alone():
    assert invalid.invalid([replace(INDEX, is_valid=False, busy=True)]) == []
    assert len(invalid.invalid([replace(INDEX, is_live=False)])) == 1


def test_the_size_of_a_fresh_build():
    """CREATE INDEX over 1,000,000 distinct integers makes 2,745 pages on PostgreSQL 15."""
    needed = bloat.needed_bytes(SPACE)
    assert needed == pytest.approx(2745 * 8192, rel=0.01)
    assert bloat.needed_bytes(replace(SPACE, key_bytes=None)) is None
    assert bloat.needed_bytes(replace(SPACE, rows=0.0, distinct_keys=0.0)) == 2 * 8192


def test_what_equal_keys_save():
    """The same over 1,000 distinct ones makes 896 pages, and 2,749 without deduplication."""
    few = replace(SPACE, distinct_keys=1000.0)
    assert bloat.needed_bytes(few) == pytest.approx(896 * 8192, rel=0.06)
    for plain in (replace(few, deduplicates=False), replace(few, is_unique=True)):
        assert bloat.needed_bytes(plain) == bloat.needed_bytes(SPACE)


@given(st.floats(1, 1e9), st.floats(1, 1e9), st.floats(1, 500), st.integers(10, 100))
def test_more_rows_never_need_less(rows, distinct, key, fillfactor):
    space = replace(
        SPACE, rows=rows, distinct_keys=min(rows, distinct), key_bytes=key, fillfactor=fillfactor
    )
    needed = bloat.needed_bytes(space)
    more = bloat.needed_bytes(replace(space, rows=rows * 2))
    assert needed is not None
    assert more is not None
    assert needed <= more


@pytest.mark.parametrize(("extra", "found"), [(-1, 0), (0, 1)])
def test_the_edges_of_bloat(extra, found):
    needed = bloat.needed_bytes(SPACE)
    assert needed is not None
    limits = IndexBloatThresholds(
        index_bloat_info_wasted_bytes=needed, index_bloat_minimum_percent=0
    )
    space = replace(SPACE, size_bytes=2 * needed + extra)
    assert len(list(bloat.findings([space], limits))) == found
    half = IndexBloatThresholds(index_bloat_info_wasted_bytes=0, index_bloat_minimum_percent=50)
    assert len(list(bloat.findings([space], half))) == found


@pytest.mark.parametrize(("extra", "severity"), [(-1, Severity.info), (0, Severity.warning)])
def test_little_bloat_is_worth_knowing_only(extra, severity):
    needed = bloat.needed_bytes(SPACE)
    assert needed is not None
    limits = IndexBloatThresholds(
        index_bloat_info_wasted_bytes=1,
        index_bloat_warning_wasted_bytes=needed,
        index_bloat_minimum_percent=0,
    )
    [found] = bloat.findings([replace(SPACE, size_bytes=2 * needed + extra)], limits)
    assert found.severity == severity


def test_a_size_that_nobody_has_counted_is_not_zero():
    """A failed build leaves relpages at 0, whatever it has written."""
    found = replace(INDEX, is_valid=False, size_bytes=0)
    [finding] = invalid.findings([found], {})
    assert finding.title == "A half-built index"
    assert finding.evidence["size"].value == "not counted yet"
    [pair] = redundancy.superfluous([keyed(1, 1), replace(keyed(2, 1), size_bytes=0)])
    [finding] = redundancy.findings([pair], {}, UsageThresholds())
    assert " 0 B" not in finding.title
