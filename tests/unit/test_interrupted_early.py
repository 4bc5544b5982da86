"""Ends before a command has begun its work: a sentence, and 3 for Ctrl-C, 2 for no time at all."""

from __future__ import annotations

import json

import pytest

from filban import config
from filban.cli.app import run


@pytest.mark.parametrize("command", ["check", "queries", "waits", "diagnose", "top", "indexes"])
def test_interrupted_while_it_loads(command, monkeypatch, capsys):
    def load(*_: object) -> config.Config:
        raise KeyboardInterrupt

    monkeypatch.setattr(config, "load", load)
    assert run([command, "service=news", "--json"]) == 3
    captured = capsys.readouterr()
    assert captured.err == "filban: interrupted\n"
    assert json.loads(captured.out)["error"]["exit_code"] == 3


def test_watching_for_no_time(capsys):
    assert run(["waits", "host=127.0.0.1", "--for", "0"]) == 2
    assert "no time at all" in capsys.readouterr().err
