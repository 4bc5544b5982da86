"""sqlcommenter: what a library appends is read back, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.pool.tags import Tags
from filban.sql.comments import MAX_LABELS, MAX_VALUE, labels, route, service

NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Cn", "Zs", "Zl", "Zp", "Co", "Cf")),
    min_size=1,
    max_size=20,
).filter(lambda name: "*/" not in name)
VALUES = st.text(st.characters(exclude_categories=("Cs",)), max_size=200)


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_what_the_pool_writes_is_read_back(pairs: dict[str, str]):
    text = Tags(route=False, fixed=pairs).applied("SELECT '/*', $1 FROM t")
    assert labels(text) == pairs


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(text: str):
    found = labels(text)
    assert len(found) <= MAX_LABELS
    assert all(len(value) <= MAX_VALUE for value in found.values())


@given(
    st.lists(
        st.sampled_from(["/*", "*/", "a='", "'", "\\", ",", "=", "%", "%4", "b='c'", " "]),
        max_size=60,
    )
)
def test_pieces_of_comments_in_any_order(pieces: list[str]):
    labels("".join(pieces))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1 /*a='1',b='2'*/", {"a": "1", "b": "2"}),
        ("SELECT 1 /* a='1', b='2' */;", {"a": "1", "b": "2"}),
        ("/*a='1'*/ SELECT 1", {"a": "1"}),
        ("/*a='1'*/ /*b='2'*/ SELECT 1 /*c='3'*/ /* no */", {"a": "1", "b": "2", "c": "3"}),
        ("SELECT '/*' /*a='1'*/", {"a": "1"}),
        ("SELECT '/*a=''1''*/'", {}),
        (r"SELECT 1 /*name='it\'s'*/", {"name": "it's"}),
        ("SELECT 1 /*route='GET%20%2Fa%3Fb'*/", {"route": "GET /a?b"}),
        ("SELECT 1 /*a='%zz'*/", {"a": "%zz"}),
        ("SELECT 1 /* why: a='1' */", {}),
        ("SELECT 1 /*+ SeqScan(t) */", {}),
        ("SELECT 1 /*a='1'", {}),
        ("SELECT 1 /*a='1' b='2'*/", {}),
        ("SELECT 1 /*a=1*/", {}),
        ("SELECT 1", {}),
    ],
)
def test_forms(text: str, expected: dict[str, str]):
    assert labels(text) == expected


def test_long_texts_are_bounded():
    assert labels("/*" * 500_000) == {}
    assert labels("/*a='1'*/" * 100_000) == {"a": "1"}
    assert labels("x" * 3_000_000 + "/*a='1'*/") == {"a": "1"}
    assert labels("SELECT /*" + "a='1'," * 100_000 + "*/ 1") == {}


def test_route_and_service():
    assert route({"route": "/a", "controller": "b", "action": "c"}) == "/a"
    assert route({"controller": "b", "action": "c"}) == "b#c"
    assert service({"application": "khabar", "framework": "django"}) == "khabar"
    assert route({}) is None
    assert service({}) is None
