"""Connection strings: what psql accepts, we accept, and it means the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.errors import ConnectError
from filban.pg import dsn, passfile
from filban.pg.dsn import Address, parse

NONE: dict[str, str] = {"HOME": "/nonexistent"}


def addresses(text: str) -> list[str]:
    return [str(a) for a in parse(text, NONE).addresses]


@pytest.mark.parametrize(
    ("text", "host", "port", "user", "database", "password"),
    [
        ("postgresql://u:p@h:5433/d", "h", 5433, "u", "d", "p"),
        ("postgres://u@h/d", "h", 5432, "u", "d", None),
        ("postgresql+asyncpg://u:p@h/d", "h", 5432, "u", "d", "p"),
        ("postgresql://u:p%40%2F%3A@h/a%20b%22c", "h", 5432, "u", 'a b"c', "p@/:"),
        ("postgresql://u:p@ss@h/d", "h", 5432, "u", "d", "p@ss"),
        ("postgresql://u@[::1]:6000/d", "::1", 6000, "u", "d", None),
        ("postgresql:///d?host=h&port=7&user=u", "h", 7, "u", "d", None),
        ("postgresql://u@%2Ftmp%2Fs:9/d", "/tmp/s", 9, "u", "d", None),
        ("postgresql://u@h", "h", 5432, "u", "u", None),
        ("host=h port=5433 user=u dbname=d password=p", "h", 5433, "u", "d", "p"),
        (r"host = h user=u dbname = 'a b\'c' password='p\\ q'", "h", 5432, "u", "a b'c", "p\\ q"),
        ("host=/tmp/s user=u dbname=d", "/tmp/s", 5432, "u", "d", None),
        ("host=h user=u dbname=''", "h", 5432, "u", "u", None),
        ("hostaddr=127.0.0.1 host=h user=u", "127.0.0.1", 5432, "u", "u", None),
    ],
)
def test_forms(text, host, port, user, database, password):
    target = parse(text, NONE)
    assert target.addresses == (Address(host, port),)
    assert (target.user, target.database, target.password) == (user, database, password)


def test_a_bare_word_is_a_database_as_in_psql():
    assert parse("news", NONE | {"PGHOST": "h", "PGUSER": "u"}).database == "news"


def test_several_hosts_with_one_port_or_one_each():
    assert addresses("postgresql://u@a:1,b:2,[::1]:3/d") == ["a:1", "b:2", "[::1]:3"]
    assert addresses("host=a,b port=6000 user=u") == ["a:6000", "b:6000"]
    assert addresses("host=a,b,c port=1,2,3 user=u") == ["a:1", "b:2", "c:3"]


def test_environment_then_service_then_the_string_itself(tmp_path: Path):
    services = tmp_path / "services"
    services.write_text("# ours\n[news]\nhost=from_service\nport=7000\nuser=svc\npassword=50%\n")
    env = {"PGSERVICEFILE": str(services), "PGHOST": "from_env", "PGDATABASE": "env_db"}
    by_name = parse("service=news dbname=d", env)
    assert by_name.addresses == (Address("from_service", 7000),)
    assert (by_name.user, by_name.database, by_name.password) == ("svc", "d", "50%")
    by_env = parse(None, env | {"PGSERVICE": "news"})
    assert (by_env.user, by_env.database) == ("svc", "env_db")
    assert parse("service=news host=mine", env).addresses == (Address("mine", 7000),)


def test_a_service_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConnectError, match='service "nope" is not defined') as caught:
        parse("service=nope", {"PGSERVICEFILE": str(tmp_path / "none"), "HOME": str(tmp_path)})
    assert str(tmp_path / "none") in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("host=h prot=5432", '"prot" is not a connection option'),
        ("host=h dbname='x", "no closing quote"),
        ("host", None),
        ("host=h port=x", 'port "x"'),
        ("host=h port=70000", 'port "70000"'),
        ("host=a,b,c port=1,2", "3 hosts but 2 ports"),
        ("mysql://u@h/d", "mysql:// is not PostgreSQL"),
        ("postgresql://u@h/d?sslmode", "no value"),
        ("postgresql://u@h/d?search_path=x", "search_path"),
        ("postgresql://u@h/%ff", "not UTF-8"),
        ("postgresql://u@[::1/d", "IPv6"),
        ("host=h target_session_attrs=leader", 'target_session_attrs "leader"'),
        ("host=h connect_timeout=soon", "connect_timeout"),
        ("host=h user = ", None),
        ("a=b c", 'missing "="'),
        ("host=h\0", "NUL"),
    ],
)
def test_what_cannot_be_understood_is_named(text, says):
    if says is None:
        parse(text, NONE)
        return
    with pytest.raises(ConnectError) as caught:
        parse(text, NONE)
    assert caught.value.reason == "dsn"
    assert says in caught.value.message
    assert caught.value.hint


def test_a_misspelt_option_gets_its_neighbour():
    with pytest.raises(ConnectError) as caught:
        parse("host=h prot=5432", NONE)
    assert caught.value.hint == 'did you mean "port"?'


TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=20
)


@given(user=TEXT, database=TEXT, password=TEXT, host=st.sampled_from(["h", "::1", "/tmp/x y"]))
def test_a_target_survives_its_own_uri(user, database, password, host):
    target = dsn.Target((Address(host, 5433),), user, database, password)
    assert parse(target.uri(with_password=True), NONE) == target


@given(user=TEXT, database=TEXT, password=TEXT)
def test_keywords_and_uri_agree(user, database, password):
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    text = f"host=h user={quoted(user)} dbname={quoted(database)} password={quoted(password)}"
    target = parse(text, NONE)
    assert (target.user, target.database, target.password) == (user, database, password)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_in_our_own_words(text):
    try:
        parse(text, NONE)
    except ConnectError as error:
        assert error.reason == "dsn"  # noqa: PT017


def test_the_password_is_never_shown():
    secret = "s3cr'et@x"
    target = dsn.Target((Address("h", 1),), "u", "d", secret)
    for shown in (
        repr(target),
        str(target),
        target.uri(),
        dsn.redact(target.uri(with_password=True)),
    ):
        assert secret not in shown
        assert "s3cr" not in shown


def test_the_password_file_as_libpq_reads_it(tmp_path: Path):
    file = tmp_path / "pgpass"
    file.write_text(
        "# comment\n"
        "other:5432:d:u:no\n"
        "h:5432:d\\:b:u:with\\:colon\\\\and:more\n"
        "localhost:*:*:u:socket\n"
        "*:*:*:any:star\n"
    )
    file.chmod(0o600)
    at = lambda host, db, user: parse(  # noqa: E731
        f"host={host} dbname='{db}' user={user} passfile={file}", NONE
    )
    assert at("h", "d:b", "u").password_for(Address("h", 5432)) == "with:colon\\and:more"
    assert at("h", "x", "any").password_for(Address("h", 1)) == "star"
    assert at("h", "x", "u").password_for(Address("h", 5432)) is None
    socket = Address("/var/run/postgresql", 5432)
    assert at(socket.host, "x", "u").password_for(socket) == "socket"


def test_a_password_file_that_others_may_read_is_not_used(tmp_path: Path):
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:*:secret\n")
    file.chmod(0o644)
    with pytest.warns(UserWarning, match="others may read it"):
        assert passfile.lookup(str(file), ["h"], 1, "d", "u") is None


@given(
    st.tuples(TEXT, TEXT, TEXT, TEXT).filter(lambda t: not any("\n" in p or "\r" in p for p in t))
)
def test_a_written_line_is_read_back(parts):
    import tempfile

    host, database, user, password = parts
    line = passfile.line(host, 5432, database, user, password)
    if line.startswith("#"):
        return
    with tempfile.NamedTemporaryFile("w", suffix="pgpass", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.chmod(file.name, 0o600)
        assert passfile.lookup(file.name, [host], 5432, database, user) == password


def test_libpq_env_carries_everything_and_argv_nothing():
    env = parse("postgresql://u:p@a:1,b:2/d?sslmode=require", NONE).libpq_env()
    assert env == {
        "PGHOST": "a,b", "PGPORT": "1,2", "PGUSER": "u", "PGDATABASE": "d",
        "PGPASSWORD": "p", "PGSSLMODE": "require",
    }  # fmt: skip


def test_the_password_of_a_key_is_never_shown():
    text = "postgresql://u@h/d?sslkey=k&sslpassword=secret"
    assert "secret" not in dsn.redact(text)
    assert "secret" not in dsn.parse(text, env={}).uri()
    assert "sslpassword=secret" in dsn.parse(text, env={}).uri(with_password=True)
