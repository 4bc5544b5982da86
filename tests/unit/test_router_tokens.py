"""Tokens: what they mean on which timeline, how they travel; properties, where there are any."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.errors import UsageError
from filban.pg.lsn import format_lsn, parse_lsn
from filban.pool.routing.tokens import (
    LONG_HEADER_BYTES,
    SHORT_HEADER_BYTES,
    UNKNOWN_LSN,
    Signer,
    Standing,
    Token,
    end_of_record,
    newest,
    parse_history,
    standing,
)

SYSTEM = 7561238746123874612
lsns = st.integers(0, 2**64 - 2)
tokens = st.builds(Token, st.just(SYSTEM), st.integers(1, 5), st.integers(0, 1000))


@given(lsns)
def test_an_lsn_survives_its_text(lsn: int):
    assert parse_lsn(format_lsn(lsn)) == lsn


def test_lsns_are_postgresqls():
    assert parse_lsn("16/B374D848") == 0x16B374D848
    assert format_lsn(0x16B374D848) == "16/B374D848"


@given(st.builds(Token, st.integers(0, 2**64 - 1), st.integers(1, 2**31), lsns))
def test_a_token_survives_its_text(token: Token):
    assert Token.parse(str(token)) == token


@pytest.mark.parametrize("text", ["", "1.2", "a.b.x", "1.2.3.4.5", "16/B374D848"])
def test_what_is_no_token_is_refused(text: str):
    with pytest.raises(UsageError):
        Token.parse(text)


BLOCK, SEGMENT = 8192, 16 * 2**20


@pytest.mark.parametrize(
    ("insert", "end"),
    [
        (5 * BLOCK + SHORT_HEADER_BYTES, 5 * BLOCK),
        (3 * SEGMENT + LONG_HEADER_BYTES, 3 * SEGMENT),
        # the tail of a record that goes on after a page's header ends here: these bytes are real
        (5 * BLOCK + LONG_HEADER_BYTES, 5 * BLOCK + LONG_HEADER_BYTES),
        (5 * BLOCK, 5 * BLOCK),
        (5 * BLOCK + 4000, 5 * BLOCK + 4000),
    ],
)
def test_the_end_of_a_record_is_before_an_empty_pages_header(insert: int, end: int):
    assert end_of_record(insert, BLOCK, SEGMENT) == end


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50)), min_size=1, max_size=6))
def test_the_newest_of_many_covers_each_in_any_order(made: list[tuple[int, int]]):
    """Histories are linear here: 1 ends at 20, 2 at 40, and writes of a timeline are within it."""
    bounds = {1: (0, 20), 2: (20, 40), 3: (40, 90)}
    each = [Token(SYSTEM, t, min(max(n, bounds[t][0]), bounds[t][1])) for t, n in made]
    merged: Token | None = None
    for token in each:
        merged = newest(token, merged)
    backwards: Token | None = None
    for token in reversed(each):
        backwards = newest(token, backwards)
    assert merged == backwards
    ends = {1: 20, 2: 40}
    for replayed in range(0, 91, 5):
        if standing(merged, SYSTEM, 3, replayed, ends, exact=True) is Standing.SEEN:
            assert all(
                standing(token, SYSTEM, 3, replayed, ends, exact=True) is Standing.SEEN
                for token in each
            )


@given(tokens, st.integers(1, 5), st.integers(0, 1000), st.integers(0, 1000), st.booleans())
def test_seen_is_never_said_of_what_is_not_there(
    token: Token, timeline: int, replayed: int, end: int, exact: bool
):
    """The model: a server holds, of each earlier timeline, the bytes up to where it ended."""
    ends = dict.fromkeys(range(1, timeline), end)
    said = standing(token, SYSTEM, timeline, replayed, ends, exact=exact)
    held = (
        token.lsn <= replayed
        if token.timeline == timeline
        else token.timeline < timeline and token.lsn <= min(end, replayed)
    )
    assert (said is Standing.SEEN) == held
    if said is Standing.BEHIND:  # the only answer for which somebody waits: waiting must help
        assert standing(token, SYSTEM, timeline, token.lsn, ends, exact=exact) is Standing.SEEN
    if said is Standing.LOST:
        assert exact
        assert token.timeline < timeline
        assert token.lsn > end


def test_what_nobody_knows_is_never_seen_and_never_waited_for():
    token = Token(SYSTEM, 1, UNKNOWN_LSN)
    assert standing(token, SYSTEM, 1, 2**63, {}, exact=True) is Standing.UNSURE
    assert standing(token, SYSTEM, 2, 2**63, {1: 100}, exact=True) is Standing.LOST
    assert standing(Token(1, 1, 1), SYSTEM, 1, 100, {}, exact=True) is Standing.UNSURE
    assert standing(Token(SYSTEM, 1, 1), SYSTEM, None, 100, {}, exact=True) is Standing.UNSURE
    assert standing(Token(SYSTEM, 1, 1), SYSTEM, 1, None, {}, exact=True) is Standing.UNSURE


def test_a_server_of_an_older_timeline_is_outdated_however_far_it_has_replayed():
    assert standing(Token(SYSTEM, 2, 10), SYSTEM, 1, 1000, {}, exact=True) is Standing.OUTDATED


def test_without_a_history_file_a_lost_write_is_unsure():
    assert standing(Token(SYSTEM, 1, 200), SYSTEM, 2, 500, {1: 100}, exact=False) is Standing.UNSURE
    assert standing(Token(SYSTEM, 1, 100), SYSTEM, 2, 500, {1: 100}, exact=False) is Standing.SEEN


def test_a_history_file_is_read():
    content = "1\t0/3000148\tno recovery target specified\n\n# a comment\n2\t0/50000A0\treason\n"
    assert parse_history(content) == {1: 0x3000148, 2: 0x50000A0}
    assert parse_history(None) == {}


KEY = "0123456789abcdef0123456789abcdef"


@given(tokens)
def test_a_signed_token_is_read_back(token: Token):
    signer = Signer(KEY, max_age_seconds=60)
    assert signer.read(signer.sign(token)) == token


@given(tokens, st.integers(0, 200), st.characters(codec="ascii"))
def test_a_changed_token_is_not_believed(token: Token, position: int, char: str):
    signer = Signer(KEY, max_age_seconds=60)
    signed = signer.sign(token)
    at = position % len(signed)
    changed = signed[:at] + char + signed[at + 1 :]
    assert changed == signed or signer.read(changed) is None


@given(st.text())
def test_anything_else_is_no_token_and_no_error(text: str):
    assert Signer(KEY, max_age_seconds=60).read(text) is None


def test_another_key_and_an_old_token_are_not_believed(monkeypatch: pytest.MonkeyPatch):
    signer = Signer(KEY, max_age_seconds=60)
    signed = signer.sign(Token(SYSTEM, 1, 5))
    assert Signer(KEY[::-1], max_age_seconds=60).read(signed) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert signer.read(signed) is None


def test_a_short_key_is_refused():
    with pytest.raises(UsageError, match="15 bytes"):
        Signer("x" * 15, max_age_seconds=60)


def test_a_replayed_write_whose_transaction_is_not_shown_yet_is_waited_for():
    token = Token(SYSTEM, 1, 100, next_xid=8)
    assert standing(token, SYSTEM, 1, 100, {}, exact=True, next_xid=7) is Standing.BEHIND
    assert standing(token, SYSTEM, 1, 100, {}, exact=True, next_xid=8) is Standing.SEEN
    assert standing(token, SYSTEM, 1, 99, {}, exact=True, next_xid=8) is Standing.BEHIND
    assert newest(Token(SYSTEM, 1, 90, 9), token) == Token(SYSTEM, 1, 100, 9)
