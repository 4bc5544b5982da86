"""Settings and pg_hba.conf as text, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.cluster import config
from filban.errors import UsageError

values = st.text(st.characters(exclude_characters="\n\r\0", codec="utf-8"), max_size=40)


@given(
    settings=st.dictionaries(
        st.from_regex(r"[a-z][a-z_]{0,9}(\.[a-z]{1,5})?", fullmatch=True), values
    )
)
def test_what_is_written_is_read(settings, tmp_path_factory):
    directory = tmp_path_factory.mktemp("conf")
    config.write_settings(directory, settings)
    assert {k: config.read_setting(directory, k) for k in settings} == settings


def test_the_last_of_two_lines_counts_and_auto_conf_overrides(tmp_path):
    (tmp_path / "postgresql.conf").write_text("port = 1\n#port=9\nport 2 # comment\nfsync=off\n")
    assert config.read_setting(tmp_path, "port") == "2"
    (tmp_path / "postgresql.auto.conf").write_text("port = '3'\n")
    assert config.read_setting(tmp_path, "port") == "3"
    assert config.read_setting(tmp_path, "fsync") == "off"
    assert config.read_setting(tmp_path, "no_such") is None


def test_booleans_numbers_and_removal(tmp_path):
    config.write_settings(tmp_path, {"fsync": False, "port": 5, "search_path": "a, b"})
    config.write_settings(tmp_path, {"port": None, "jit": True})
    text = (tmp_path / "postgresql.auto.conf").read_text()
    assert "fsync = 'off'" in text
    assert "jit = 'on'" in text
    assert "search_path = 'a, b'" in text
    assert "port" not in text


@pytest.mark.parametrize(("name", "value"), [("a b", "1"), ("", "1"), ("x", "a\nb"), ("x='", "1")])
def test_what_cannot_be_a_setting_is_refused(tmp_path, name, value):
    with pytest.raises(UsageError):
        config.write_settings(tmp_path, {name: value})
    assert not list(tmp_path.iterdir())


def test_a_planted_link_is_replaced_and_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("untouched")
    data = tmp_path / "data"
    data.mkdir()
    (data / "pg_hba.conf").symlink_to(precious)
    config.write_file(data / "pg_hba.conf", "local all all trust\n")
    assert precious.read_text() == "untouched"
    assert not (data / "pg_hba.conf").is_symlink()


def test_given_hba_lines_come_first():
    lines = config.hba_text(["host all bad 127.0.0.1/32 reject"]).splitlines()
    assert lines[0].split()[-1] == "reject"
    assert all(line.split()[-1] == "trust" for line in lines[1:])
    assert any(line.split()[1] == "replication" for line in lines[1:])


def test_a_half_written_pid_file_is_none(tmp_path: Path):
    assert config.read_pid_file(tmp_path) is None
    (tmp_path / "postmaster.pid").write_text("")
    assert config.read_pid_file(tmp_path) is None
    (tmp_path / "postmaster.pid").write_text("42\n/data\n1700000000\n5433\n")
    known = config.read_pid_file(tmp_path)
    assert known is not None
    assert (known.pid, known.port, known.state) == (42, 5433, None)
