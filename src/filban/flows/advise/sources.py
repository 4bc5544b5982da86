"""Where the statements come from: the server's counters, its log with real values, files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from filban.errors import NotSupported, UsageError
from filban.flows.advise.options import AdviseOptions
from filban.index.advice import Given, counted
from filban.pg import Session
from filban.profile.logs import Analysis, read_logs
from filban.profile.logs.rows import Statement as Logged
from filban.profile.statements.collect import ready
from filban.sql import SqlError, fingerprint, parse, split

# "$1 = '7', $2 = NULL" as the log has it, quotes doubled.
_PARAMETER = re.compile(r"\$(\d+) = (NULL|'(?:[^']|'')*')")


async def givens(opened: Session, options: AdviseOptions) -> tuple[Given, ...]:
    """All statements that are known. Raises NotSupported when there is no source at all."""
    known: list[Given] = []
    if options.counters and ready(opened.server):
        known += await counted(opened)
    logged = await _logged(options.logs, opened.server.database)
    known = _with_values(known, logged)
    known += _from_files(options.files)
    if not known:
        raise NotSupported(
            "there are no statements to advise on: pg_stat_statements is not there, or empty",
            hint="CREATE EXTENSION pg_stat_statements (with shared_preload_libraries), or give "
            "--logs FILE or --file FILE.sql",
        )
    return tuple(known)


async def _logged(files: Sequence[str], database: str) -> list[Logged]:
    if not files:
        return []
    report = await read_logs(files, Analysis())
    return [s for s in report.statements if not s.databases or database in s.databases]


def _with_values(known: list[Given], logged: Iterable[Logged]) -> list[Given]:
    """What is counted gets the log's values; what only the log has comes from there."""
    examples = {s.fingerprint: (s, _examples(s)) for s in logged}
    joined: list[Given] = []
    for given in known:
        found = examples.pop(_key(given.sql), None)
        joined.append(_replaced(given, found[1]) if found else given)
    rest = (
        Given(s.query, s.calls, s.total_ms, None, s.query_id, texts, "log")
        for s, texts in examples.values()
    )
    return [*joined, *rest]


def _replaced(given: Given, examples: tuple[str, ...]) -> Given:
    return Given(
        given.sql, given.calls, given.total_ms, given.rows, given.query_id, examples, given.source
    )


def _key(sql: str) -> str:
    try:
        return fingerprint(sql)
    except SqlError:
        return ""


def _examples(logged: Logged) -> tuple[str, ...]:
    texts = (with_values(e.text, e.parameters or "") for e in logged.examples)
    return tuple(dict.fromkeys(text for text in texts if text is not None))


def with_values(text: str, parameters: str) -> str | None:
    """A statement with the values that the log has of its parameters; None where one is missing."""
    values = dict(_PARAMETER.findall(parameters))
    try:
        places = [
            (node.fields.get("location", 0), str(node.fields.get("number", 0)))
            for node in parse(text).find("ParamRef")
        ]
    except SqlError:
        return None
    raw = text.encode()
    for at, number in sorted(places, reverse=True):
        if number not in values:
            return None
        raw = raw[:at] + values[number].encode() + raw[at + len(f"${number}") :]
    return raw.decode()


def _from_files(files: Iterable[Path]) -> list[Given]:
    """One Given a statement; each counts as called once."""
    found: list[Given] = []
    for file in files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {error}", hint="an SQL file") from error
        try:
            found += [Given(sql, source=str(file)) for sql in split(text)]
        except SqlError as error:
            raise UsageError(f"{file}: {error.message}", hint=error.hint) from error
    return found
