"""sqlcommenter: what is appended, and where."""

from __future__ import annotations

import pytest

from filban.errors import UsageError
from filban.pool import tags as module
from filban.pool.context import route
from filban.pool.tags import Tags


@pytest.fixture
def labelled():
    mark = route.set("GET /articles/{id}")
    yield
    route.reset(mark)


def test_the_format_of_the_specification(labelled):
    text = Tags(fixed={"framework": "fast api"}).applied("SELECT 1")
    assert text == "SELECT 1 /*framework='fast%20api',route='GET%20%2Farticles%2F%7Bid%7D'*/"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("SELECT 1;", "SELECT 1 /*a='b'*/;"),
        ("SELECT 1 ;\n", "SELECT 1  /*a='b'*/;"),
        ("SELECT 1 -- one", "SELECT 1 -- one\n/*a='b'*/"),
        ("SELECT 1 -- one;", "SELECT 1 -- one\n/*a='b'*/;"),
        ("BEGIN;", "BEGIN;"),
        ("COMMIT;", "COMMIT;"),
        ("ROLLBACK TO x;", "ROLLBACK TO x;"),
    ],
)
def test_where_the_comment_goes(query: str, wanted: str):
    assert Tags(fixed={"a": "b"}).applied(query) == wanted


def test_nothing_to_say_changes_nothing():
    assert Tags().applied("SELECT 1;") == "SELECT 1;"


def test_a_value_cannot_end_the_comment():
    hostile = Tags(fixed={"user": "*/ DROP TABLE article; --'"})
    text = hostile.applied("SELECT 1")
    assert text.count("*/") == 1
    assert text.endswith("'*/")
    with pytest.raises(UsageError):
        Tags(fixed={"x*/": "y"})


def test_texts_stay_few_when_routes_do_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_ROUTES", 5)
    made, texts = Tags(fixed={"a": "b"}), set()
    for number in range(50):
        mark = route.set(f"GET /articles/{number}")
        texts.add(made.applied("SELECT 1"))
        route.reset(mark)
    assert len(texts) == 6  # five routes, and one without
    assert "SELECT 1 /*a='b'*/" in texts
