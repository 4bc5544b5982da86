"""Index advice without a server: expressions, definitions, texts, other spellings, costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.errors import UsageError
from filban.index.advice import IndexSpec, Key, texts
from filban.index.advice.access import Access, Order
from filban.index.advice.candidates.partial import is_fixed
from filban.index.advice.catalog import Catalog, Names
from filban.index.advice.conditions import Condition, conditions
from filban.index.advice.cost import Costs
from filban.index.advice.expressions import called, casts, constant, join, tokens
from filban.index.advice.facts import Column, Table, Values
from filban.index.advice.parameters import literal, value_for
from filban.index.advice.rewrites import rewrites
from filban.index.advice.specs import parse_index, serves
from filban.index.advice.texts import Place
from filban.sql import SqlError

TABLE = Table(1, "public", "t", "public", "t", "r", None, 10_000.0, 100, 100, 0, 0, 0, 0)
COSTS = Costs(4.0, 1.0, 0.01, 0.005, 0.0025, 1000.0)


def column(name: str, kind: str = "int4", category: str = "N", **more: object) -> Column:
    known = {"distincts": 100.0, "null_share": 0.0, "correlation": 0.0, "width_bytes": 4}
    known |= {"is_not_null": True, "by_bytes": False, "top_share": 0.01} | more
    return Column(1, 1, name, name, kind, category, **known)


COLUMNS = {
    c.name: c
    for c in (
        column("a"),
        column("b"),
        column("s", "varchar", "S"),
        column("c", "bpchar", "S"),
        column("at", "timestamptz", "D"),
        column("j", "jsonb", "U"),
        column("tags", "_text", "A"),
        column("during", "tstzrange", "R"),
        column("w", "tsvector", "U"),
        column("done", "bool", "B"),
    )
}


def one(text: str) -> Condition:
    [[found]] = conditions(text, "t", COLUMNS)
    return found


@pytest.mark.parametrize(
    ("text", "kind", "key"),
    [
        ("(t.a = 5)", "eq", "a"),
        ("(5 = t.a)", "eq", "a"),
        ("(t.a > $1)", "range", "a"),
        ("($1 > t.a)", "range", "a"),
        ("(t.a = ANY ('{1,2}'::integer[]))", "eq", "a"),
        ("(t.a = o.id)", "eq", "a"),
        ("(t.a <> 5)", "other", "a"),
        ("((t.s)::text = 'x'::text)", "eq", "s"),
        ("((t.c)::text = 'x'::text)", "eq", "((c)::text)"),
        ("((t.s)::text ~~ 'ab%'::text)", "prefix", "s"),
        ("((t.s)::text ~~ '%ab'::text)", "infix", "s"),
        ("((t.s)::text ~~ $1)", "like", "s"),
        ("((t.s)::text ~~* 'ab%'::text)", "ilike", "s"),
        ("((t.s)::text ~ '^ab'::text)", "prefix", "s"),
        ("(lower((t.s)::text) = 'x'::text)", "eq", "(lower((s)::text))"),
        ("((t.j ->> 'k'::text) = 'x'::text)", "eq", "(j ->> 'k'::text)"),
        ("(t.j @> '{}'::jsonb)", "json", "j"),
        ("(t.tags && '{a}'::text[])", "array", "tags"),
        ("('a'::text = ANY (t.tags))", "in_array", "tags"),
        ("(t.during @> $1)", "span", "during"),
        ("(t.w @@ '''x'''::tsquery)", "words", "w"),
        ("(to_tsvector('simple'::regconfig, (t.s)::text) @@ '''x'''::tsquery)", "words",
         "(to_tsvector('simple'::regconfig, (s)::text))"),
        ("t.done", "true", "done"),
        ("(NOT t.done)", "false", "done"),
        ("(t.at IS NULL)", "null", "at"),
        ("(ROW(t.a, t.b) > ROW(1, 2))", "range", "a"),
        ("(t.a = (SubPlan 1))", "eq", "a"),
        ("(t.a = (InitPlan 1).col1)", "eq", "a"),
    ],
)  # fmt: skip
def test_what_a_condition_asks(text: str, kind: str, key: str):
    found = one(text)
    assert (found.kind, found.key) == (kind, key)


@pytest.mark.parametrize(
    "text", ["(o.a = 5)", "((t.a + o.a) = 5)", "(t.a = t.b)", "(a = 5)", "false", "", "((("]
)
def test_what_is_not_about_the_table_alone(text: str):
    assert list(conditions(text, "t", COLUMNS)) == []


def test_branches_of_or_stay_together():
    groups = list(conditions("((t.a = 1) AND ((t.b = 2) OR (t.s IS NULL)))", "t", COLUMNS))
    assert [[c.key for c in group] for group in groups] == [["a"], ["b", "s"]]
    assert list(conditions("((t.a = 1) OR (o.b = 2))", "t", COLUMNS)) == []


def test_only_its_own_conditions_are_texts_of_a_predicate():
    assert one("((t.s)::text = 'it''s AND (so'::text)").text == "(s)::text = 'it''s AND (so'::text"
    assert one("(t.a = o.id)").text == ""
    assert one("(t.a = o.id)").is_join


@given(st.text(max_size=60))
def test_any_text_is_taken_apart_without_a_word(text: str):
    for group in conditions(text, "t", COLUMNS):
        assert all(c.columns for c in group)
    assert join(tokens(join(tokens(text)))) == join(tokens(text))


def test_parts_of_expressions():
    parts = tokens("date_trunc('day'::text, (at)::timestamp without time zone)")
    assert [(c.name, c.arguments) for c in called(parts)] == [("date_trunc", 2)]
    assert casts(parts) == ("timestamp",)  # that of a literal says nothing
    assert casts(tokens("(d)::timestamp with time zone")) == ("timestamptz",)
    assert constant(tokens("'it''s'::text")) == "it's"
    assert constant(tokens("'-5'::integer")) == "-5"
    assert constant(tokens("now()")) is None


NAME = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True) | st.sampled_from(
    ['"Order"', '"with "" quote"', '"ordem é"', '"a b"']
)
KEYS = st.builds(
    Key,
    NAME | st.sampled_from(["(lower(name))", "(data ->> 'k'::text)", "((a)::text)"]),
    st.booleans(),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["text_pattern_ops", "gin_trgm_ops"]),
    st.none() | st.just('"C"'),
)
SPECS = st.builds(
    IndexSpec,
    NAME,
    NAME,
    st.lists(KEYS, min_size=1, max_size=4, unique_by=lambda k: k.sql).map(tuple),
    st.sampled_from(["btree", "gin", "brin"]),
    st.lists(NAME, max_size=3).map(tuple),
    st.none() | st.sampled_from(["(a IS NULL) AND (b = 'x'::text)", "done"]),
    st.booleans(),
)


@given(SPECS)
def test_a_definition_is_read_as_what_it_says(spec: IndexSpec):
    assert parse_index(spec.definition()) == spec
    assert parse_index(spec.definition("mine", concurrently=True) + ";") == spec
    assert len(spec.name.encode()) <= 63
    assert spec.name.isidentifier()


def test_equal_indexes_are_equal():
    a = IndexSpec("s", "t", (Key("a", True, True),), include=("c", "b", "a"))
    b = IndexSpec("s", "t", (Key("a", True),), include=("b", "c"))
    assert a == b
    assert hash(a) == hash(b)
    assert a.name != IndexSpec("s", "t", (Key("a"),)).name


@pytest.mark.parametrize(
    "text", ["", "DROP INDEX i", "CREATE INDEX", "CREATE INDEX ON t", "CREATE INDEX ON t ()", "("]
)
def test_what_is_no_index(text: str):
    with pytest.raises(UsageError):
        parse_index(text)


def access(*found: Condition, **more: object) -> Access:
    return Access("q", TABLE, tuple(found), **more)


def spec(*keys: Key | str, **more: object) -> IndexSpec:
    made = tuple(Key(key) if isinstance(key, str) else key for key in keys)
    return IndexSpec("public", "t", made, **more)


def test_equality_then_range_bounds_a_scan():
    a, b, at = one("(t.a = 1)"), one("(t.b = 2)"), one("(t.at > $1)")
    asks = access(a, b, at)
    assert serves(spec("a", "b", "at"), asks).bounding == (a, b, at)
    assert serves(spec("at", "a"), asks).bounding == (at,)
    assert serves(spec("at", "a"), asks).inside == (a,)
    assert serves(spec("s"), asks) is None


@pytest.mark.parametrize(
    ("keys", "served"),
    [
        ((Key("a"), Key("at")), True),
        ((Key("a"), Key("at", True)), True),
        ((Key("at"),), True),
        ((Key("at"), Key("a")), True),
        ((Key("b"), Key("at")), False),
        ((Key("a"), Key("at", True, False)), False),
        ((Key("a"), Key("b"), Key("at")), False),
    ],
)
def test_order_behind_equality(keys: tuple[Key, ...], served: bool):
    asks = access(one("(t.a = 1)"), order=(Order("at", "at", True, True),))
    found = serves(spec(*keys), asks)
    assert bool(found and found.ordered) is served


def test_a_list_of_values_has_no_order():
    asks = access(one("(t.a = ANY ($1))"), order=(Order("at", "at", False, False),))
    assert not serves(spec("a", "at"), asks).ordered
    assert serves(spec("at", "a"), asks).ordered


def test_a_predicate_has_to_be_said_by_the_statement():
    said = access(one("(t.a = 1)"), one("(NOT t.done)"))
    assert serves(spec("a", where="NOT done"), said).partial
    assert serves(spec("a", where="NOT done"), access(one("(t.a = 1)"))) is None


def test_covered_by_keys_and_include():
    asks = access(one("(t.a = 1)"), needed=frozenset({"a", "b"}))
    assert serves(spec("a", include=("b",)), asks).covered
    assert not serves(spec("a"), asks).covered
    assert not serves(spec("a", include=("b",)), access(one("(t.a = 1)"))).covered


def test_parameters_are_replaced_where_they_stand():
    sql = "SELECT 'ü $1', $1, \"$2\" FROM t WHERE a = $2 AND b = $10 -- $1"
    found = texts.substitute(sql, {1: "'x'", 2: "'y'", 10: "'z'"})
    assert found == "SELECT 'ü $1', 'x', \"$2\" FROM t WHERE a = 'y' AND b = 'z' -- $1"


def test_where_parameters_stand():
    text = texts.read(
        "SELECT * FROM t x WHERE x.a = $1 AND lower(s) = $2 AND at BETWEEN $3 AND $4"
        " AND j ->> 'k' = $5 AND w @@ to_tsquery('simple', $6) AND at > now() - interval $7"
        " LIMIT $8 OFFSET $9"
    )
    places = text.parameters
    assert (places[1].alias, places[1].column, places[1].role) == ("x", "a", "value")
    assert places[2].column == "s"
    assert (places[3].position, places[4].position) == (0, 1)
    assert (places[5].column, places[5].key) == ("j", "k")
    assert places[6].role == "words"
    assert (places[7].cast, places[7].is_bare) == ("interval", True)
    assert (places[8].role, places[9].role) == ("limit", "offset")


def test_what_a_text_reads():
    text = texts.read("SELECT x.a, b FROM t x JOIN u ON u.a = x.a")
    assert text.named == {"x": frozenset({"a", "b"}), "u": frozenset({"a", "b"})}
    assert texts.read("SELECT x.* FROM t x").named == {"x": None}
    assert texts.read("SELECT count(*) FROM t").named == {"t": frozenset()}
    assert texts.read("BEGIN") is None
    with pytest.raises(SqlError):
        texts.read("SELECT 1; SELECT 2")


def test_values_by_variant():
    kept = Values(1, "a", ("1", "2", "3"), ("10", "20", "30", "40", "50"), ())
    equal = Place("value", "=", column="a")
    assert [value_for(equal, kept, v, "", False) for v in range(3)] == ["'1'", "'30'", "'3'"]
    above = Place("value", ">", column="a")
    assert value_for(above, kept, 1, "", False) == "'30'"
    assert value_for(Place("array", "=", column="a"), kept, 0, "", False) == '\'{"1","2","3"}\''
    assert value_for(Place(), None, 0, "int8", False) == "'1'::int8"
    assert value_for(Place(cast="interval", is_bare=True), None, 0, "", False) == "'1 day'"
    assert literal("it's \\ so") == "E'it''s \\\\ so'"


@pytest.mark.parametrize(
    ("sql", "kinds"),
    [
        ("SELECT * FROM t ORDER BY a LIMIT 10 OFFSET $1", {"keyset"}),
        ("SELECT * FROM t ORDER BY a LIMIT 10 OFFSET 5000", {"keyset"}),
        ("SELECT * FROM t ORDER BY a LIMIT 10 OFFSET 20", set()),
        ("SELECT * FROM t WHERE a NOT IN (SELECT b FROM u)", {"not_in"}),
        ("SELECT * FROM t WHERE a NOT IN (1, 2)", set()),
        ("SELECT * FROM t JOIN u ON t.a = u.a WHERE t.b = 1 OR u.b = 2", {"or_to_union"}),
        ("SELECT * FROM t WHERE t.a = 1 OR t.b = 2", set()),
        ("SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY a ORDER BY b) r FROM t) x "
         "WHERE r <= 3", {"lateral"}),
        ("SELECT *, row_number() OVER (PARTITION BY a ORDER BY b) r FROM t WHERE b > 3", set()),
    ],
)  # fmt: skip
def test_other_ways_to_write_it(sql: str, kinds: set[str]):
    assert {r.kind for r in rewrites(texts.read(sql), "q")} == kinds


def test_costs_rise_with_rows_and_fall_with_order():
    few, many = (COSTS.lookup(TABLE, n, 30, 0.0, covered=False) for n in (10, 5000))
    assert few < COSTS.whole(TABLE) < many * 2
    assert COSTS.lookup(TABLE, 5000, 30, 1.0, covered=False) < many
    assert COSTS.lookup(TABLE, 5000, 30, 0.0, covered=True) < many


def test_names_are_found_as_the_server_finds_them():
    def table(oid: int, schema: str) -> Table:
        return Table(oid, schema, "t", schema, "t", "r", None, 1.0, 1, 0, 0, 0, 0, 0)

    both = [table(1, "a"), table(2, "b")]
    assert [t.oid for t in Names(both, None).find("", "t")] == [1, 2]
    assert [t.oid for t in Names(both, '"$user", b').find("", "t")] == [2]
    assert [t.oid for t in Names(both, None).find("b", "t")] == [2]
    assert Names(both, "b").search_path == "b, a"


def test_a_predicate_is_what_the_program_says_not_the_user():
    from filban.index.advice.candidates import Context

    catalog = Catalog(Names([TABLE], None), {1: COLUMNS}, {}, (), frozenset(), {})
    state = column("s", "varchar", "S", distincts=5.0)
    catalog = Catalog(catalog.names, {1: {**COLUMNS, "s": state}}, {}, (), frozenset(), {})
    said = Context(catalog, constants={"q": frozenset({"new", "5"})})
    asks = access()
    assert is_fixed(one("((t.s)::text = 'new'::text)"), asks, said)
    assert not is_fixed(one("((t.s)::text = 'old'::text)"), asks, said)
    assert not is_fixed(one("(t.a = 5)"), asks, said)  # a hundred values: somebody's id
    assert is_fixed(one("(t.at IS NULL)"), asks, said)
