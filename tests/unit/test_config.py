"""filban.toml: what it may say, and how it answers what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from filban import config
from filban.errors import ConfigError
from filban.finding import Ignore, Severity


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "filban.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_all_of_it(tmp_path):
    read = config.load(
        written(
            tmp_path,
            'dsn = "service=news"\n'
            '[servers]\nreplica = "host=r"\n[servers.stage]\ndsn = "host=s"\n'
            '[check]\nfail_on = "warning"\nignore = ["index.unused:public.x", "cache.hit_ratio"]\n'
            "[check.thresholds]\nlong_transaction_seconds = 10\n",
        )
    )
    assert read.dsn_of(None) == "service=news"
    assert read.dsn_of("replica") == "host=r"
    assert read.dsn_of("stage") == "host=s"
    assert read.dsn_of("postgresql://x") == "postgresql://x"
    assert read.check.fail_on is Severity.warning
    assert read.check.ignore == (Ignore("index.unused", "public.x"), Ignore("cache.hit_ratio"))
    assert read.check.thresholds == {"long_transaction_seconds": 10}


def test_without_a_file_there_are_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config.load() == config.Config()


def test_it_is_found_from_a_folder_below_and_by_the_environment(tmp_path, monkeypatch):
    file = written(tmp_path, 'dsn = "x"')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert config.find() == file
    monkeypatch.setenv("FILBAN_CONFIG", "/elsewhere.toml")
    assert config.find() == Path("/elsewhere.toml")


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("dns = 'x'", 'unknown key "dns"', 'did you mean "dsn"?'),
        ("[check]\nfailon = 'x'", 'unknown key "check.failon"', 'did you mean "fail_on"?'),
        ("[check]\nfail_on = 'bad'", '"bad" is not a severity', "critical, warning, info, never"),
        ("[check]\nignore = 'x'", '"check.ignore" must be a list', ""),
        ("[check.thresholds]\nx = 'y'", '"check.thresholds.x" must be a number', ""),
        ("[check.thresholds]\nx = nan", "0 or more", ""),
        ("[check.thresholds]\nx = inf", "0 or more", ""),
        ("[check.thresholds]\nx = -1", "0 or more", ""),
        ("[check.thresholds]\nx = true", '"check.thresholds.x" must be a number', ""),
        ("check = 1", '"check" must be a table', ""),
        ("dsn = 1", '"dsn" must be a text', ""),
        ("dsn = ", "cannot be read", ""),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, says, hint):
    with pytest.raises(ConfigError) as caught:
        config.load(written(tmp_path, text))
    assert says in caught.value.message
    assert hint in caught.value.hint


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / "none.toml")
