"""Which event is a line about a statement, and what it says."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import polars as pl

from filban.profile.logs.frame import Unread
from filban.profile.logs.words import FOREIGN_START, LANGUAGES, rewrites

# What log_min_duration_statement, log_duration and auto_explain write is
#   duration: 1.234 ms[  kind [name]: text]
# It is taken apart at its marks: five times faster than by a regular expression.
_MARK = "duration: "
# What stands between the milliseconds and the colon begins with this -> kind; the longest first.
_KINDS = (
    ("statement", "statement"), ("parse ", "parse"), ("bind ", "bind"),
    ("execute fetch from ", "fetch"), ("execute ", "execute"), ("plan", "plan"),
    ("fastpath function call", "fastpath"),
)  # fmt: skip
_COLUMNS = ("order", "time", "pid", "user", "db", "app", "query_id", "detail", "context", "message")

# What log_statement writes.
_LOGGED = r"^(?P<kind>statement|execute fetch from|execute)(?: [^:\n]*)?: (?P<text>(?s:.*))$"
_LOGGED_KINDS = {"execute fetch from": "fetch", "execute": "executing", "statement": "logged"}

# SQL-level EXECUTE: the line's DETAIL is "prepare: PREPARE name (types) AS statement".
_EXECUTE = r"(?i)^\s*EXECUTE\b"
_PREPARE = r'PREPARE\s+(?:"(?:[^"]|"")+"|\S+?)\s*(?:\((?:[^()]|\([^()]*\))*\))?\s+AS\s+(.*)$'
_PREPARED = rf"(?is)^[^:]{{3,20}}: {_PREPARE}"
_PREPARE_PLAN = re.compile(rf"(?is)^\s*{_PREPARE}")

_QUERY_TEXT = re.compile(
    r"\A\s*Query Text: (?P<text>.*?)\n(?:Query Parameters: .*?\n)?(?P<plan>[^\n]*  \(cost=.*)\Z",
    re.DOTALL,
)
_JSON_TEXT = re.compile(r'"Query Text": ("(?:[^"\\]|\\.)*")', re.DOTALL)
_XML_TEXT = re.compile(r"<Query-Text>(.*?)</Query-Text>", re.DOTALL)
_YAML_TEXT = re.compile(r'\A\s*Query Text: ("(?:[^"\\]|\\.)*")', re.DOTALL)


def in_english(events: pl.DataFrame) -> pl.DataFrame:
    """Other languages' lines of statements in English's form."""
    foreign = events["message"].str.contains(FOREIGN_START).fill_null(value=False)
    if not foreign.any():
        return events
    message = pl.col("message")
    for spoken in LANGUAGES.values():
        begins = message.str.contains(f"^(?:{spoken.duration}|{spoken.statement}|{spoken.execute})")
        rewritten = message
        for pattern, replacement in rewrites(spoken):
            rewritten = rewritten.str.replace(pattern, replacement)
        events = events.with_columns(
            pl.when(begins).then(rewritten).otherwise(message).alias("message")
        )
    return events


def split(events: pl.DataFrame, unread: Unread) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(lines of statements, all other events).

    Lines of statements get `ms`, `text` and `kind`: statement, parse, bind, execute, fetch,
    fastpath, plan; `bare` (a duration without a text), `logged` and
    `executing` (a text without a duration, of a simple query or a prepared statement).
    A duration that says something else is a half line: counted as unread.
    """
    timed = _timed(events)
    others = events.filter(~timed)
    english = in_english(others)
    if english is not others:
        events = pl.concat([events.filter(timed), english]).sort("order")
        timed = _timed(events)
        others = events.filter(~timed)
    durations = _durations(events.select(_COLUMNS).filter(timed), unread)
    logged = (others["level"] == "LOG") & others["message"].str.contains(_LOGGED)
    if not logged.any():
        return _of_prepared(durations), others
    texts = _logged(others.filter(logged)).select(durations.columns)
    lines = pl.concat([durations, texts]).sort("order")
    return _of_prepared(lines), others.filter(~logged)


def _timed(events: pl.DataFrame) -> pl.Series:
    return (events["level"] == "LOG") & events["message"].str.starts_with(_MARK)


def _durations(events: pl.DataFrame, unread: Unread) -> pl.DataFrame:
    parts = events["message"].str.slice(len(_MARK)).str.splitn(":", 2).struct.unnest()
    heads = parts["field_0"].str.splitn(" ms", 2).struct.unnest()
    said = pl.DataFrame(
        {
            "ms": heads["field_0"].cast(pl.Float64, strict=False),
            "kind": _kinds(heads["field_1"]),
            "text": parts["field_1"].str.slice(1),
        }
    )
    half = said["ms"].is_null() | said["kind"].is_null()
    half |= said["text"].is_null() != (said["kind"] == "bare")
    lines = pl.concat([events.drop("message"), said], how="horizontal")
    if half.any():
        for message in events.filter(half)["message"]:
            unread.add(message)
        lines = lines.filter(~half)
    return lines


def _kinds(words: pl.Series) -> pl.Series:
    """What stands between the milliseconds and the colon, of which there are few distinct ones."""
    distinct = words.unique().alias("word")
    word = pl.col("word").str.strip_chars_start(" ")
    kind: Any = pl.when(word == "").then(pl.lit("bare"))
    for begins, name in _KINDS:
        kind = kind.when(word.str.starts_with(begins)).then(pl.lit(name))
    kinds = distinct.to_frame().select(kind.otherwise(None).alias("kind"))["kind"]
    return words.replace_strict(distinct, kinds, default=None, return_dtype=pl.String)


def _logged(events: pl.DataFrame) -> pl.DataFrame:
    groups = events["message"].str.extract_groups(_LOGGED).struct.unnest()
    return pl.concat([events, groups], how="horizontal").with_columns(
        pl.col("kind").replace(_LOGGED_KINDS), pl.lit(None, pl.Float64).alias("ms")
    )


def _of_prepared(lines: pl.DataFrame) -> pl.DataFrame:
    """EXECUTE name(…) is the statement that was prepared, as pg_stat_statements has it."""
    prepared = (
        pl.when(pl.col("text").str.contains(_EXECUTE))
        .then(pl.col("detail"))
        .str.extract(_PREPARED, 1)
    )
    if lines.filter(pl.col("text").str.contains(_EXECUTE)).is_empty():
        return lines
    return lines.with_columns(pl.coalesce(prepared, "text").alias("text"))


def plan_parts(text: str) -> tuple[str, str]:
    """(statement, plan) of an auto_explain line in any of its formats; the statement may be ""."""
    statement, plan = _statement_and_plan(text)
    prepared = _PREPARE_PLAN.match(statement)
    return (prepared[1] if prepared else statement), plan


def _statement_and_plan(text: str) -> tuple[str, str]:
    match = _QUERY_TEXT.match(text)
    if match:
        return match["text"], match["plan"]
    for pattern in (_YAML_TEXT, _JSON_TEXT):
        match = pattern.search(text)
        if match:
            try:
                return str(json.loads(match[1], strict=False)), text
            except ValueError:
                break
    match = _XML_TEXT.search(text)
    return (html.unescape(match[1]), text) if match else ("", text)
