"""Frees a plan from what psql, pgAdmin, mail and logs put around it."""

from __future__ import annotations

import itertools
import json
import re

_RULE = re.compile(r"[-+=|│┌┬┐├┼┤└┴┘─═╔╗╚╝╠╣╞╡╪╟╢╫╤╧╥╨╬╦╩\s]{3,}")
_HEADER = re.compile(r"[\s|│║\"'-]*QUERY PLAN[\s|│║\"'+↵-]*")
_FOOTER = re.compile(r"\s*\(\d+ [^()\d]{2,12}\)\s*|\s*Time: [\d.,]+ ms.*|\s*\(\d+ rows?\)\s*")
_RECORD = re.compile(r"\s*[-─]\[ RECORD \d+ \][-─+]*\s*")
_EXPANDED = re.compile(r"QUERY PLAN ?[|│]")
_BARS = ("|", "│", "║")
_MARKS = ("+", "↵")  # psql: the cell goes on in the next line
_QUOTES = ("> ", "-- ", "# ")  # mail, SQL and configuration files


def unframe(text: str) -> str:
    """The plan's own lines: no header, borders, row count, marks of wrapping, or quoting."""
    lines = [line.rstrip() for line in text.expandtabs(8).splitlines()]
    lines = _unquoted([line for line in lines if line])
    lines = _after_header(lines)
    lines = [line for line in lines if not _RECORD.fullmatch(line) and not _FOOTER.fullmatch(line)]
    lines = _without_borders([_EXPANDED.sub("", line, count=1) for line in lines])
    lines = [line for line in lines if not _RULE.fullmatch(line)]
    return "\n".join(_without_string_quotes(_without_marks(lines)))


def _unquoted(lines: list[str]) -> list[str]:
    for mark in _QUOTES:
        if lines and all(line.startswith(mark) or line == mark.strip() for line in lines):
            return [line[len(mark) :] for line in lines]
    return lines


def _after_header(lines: list[str]) -> list[str]:
    """What follows the last "QUERY PLAN": above it stand the prompt and the statement."""
    at = [i for i, line in enumerate(lines) if _HEADER.fullmatch(line)]
    return lines[at[-1] + 1 :] if at else lines


def _without_borders(lines: list[str]) -> list[str]:
    content = [line for line in lines if not _RULE.fullmatch(line)]
    for bar in _BARS:
        if content and all(line.lstrip().startswith(bar) for line in content):
            return [_inside(line, bar) for line in content]
    return lines


def _inside(line: str, bar: str) -> str:
    inner = line.lstrip()[1:]
    return inner.rstrip().removesuffix(bar).rstrip()


def _without_marks(lines: list[str]) -> list[str]:
    """A document in one cell has a mark at the end of each line but the last."""
    for mark in _MARKS:
        marked = [line.endswith(mark) for line in lines]
        if len(lines) > 1 and all(marked[:-1]):
            return [line.removesuffix(mark).rstrip() for line in lines]
    return _rejoined(lines)


def _rejoined(lines: list[str]) -> list[str]:
    """psql's `\\pset format wrapped`: "." (or "…") ends a broken line and begins its rest.

    Every line of it has a mark or a space in front; a number broken by a terminal has not.
    """
    if any(line[:1] not in (" ", ".", "…") for line in lines):
        return lines
    joined: list[str] = []
    for line in lines:
        if joined and joined[-1][-1:] in (".", "…") and line[:1] == joined[-1][-1]:
            joined[-1] = joined[-1][:-1] + line[1:]
        else:
            joined.append(line)
    return joined


def _without_string_quotes(lines: list[str]) -> list[str]:
    """pgAdmin copies each row as a quoted string."""
    for quote in ('"', "'"):
        if lines and all(
            len(x) > 1 and x[0] == quote and x.rstrip(",")[-1] == quote for x in lines
        ):
            return [line.rstrip(",")[1:-1].replace(quote * 2, quote) for line in lines]
    if len(lines) > 1 and lines[0][0] == '"' == lines[-1][-1] and any('""' in x for x in lines):
        return _csv_cell(lines)
    if len(lines) > 1 and all(x[-1] == '"' and x.count('"') % 2 for x in lines):
        return [line[:-1] for line in lines]  # the opening quotes went with the margin
    return lines


def _csv_cell(lines: list[str]) -> list[str]:
    """A document that was one quoted value of a CSV file."""
    return "\n".join(lines)[1:-1].replace('""', '"').splitlines()


_LOGGED = re.compile(r"duration: [\d.]+ ms  plan:[ ]?(?=\r?\n|\\n|Query Text|[\[{<])")
# stderr and syslog continue a message with a tab; a new entry begins at the margin.
_NEXT_ENTRY = re.compile(r"(?m)^(?=[^\s\[\]{}<\"-])|^(?=[\[{<]?\d{4}-\d\d-\d\d[ T]\d\d:)")


def logged(text: str) -> list[str]:
    """The plans that auto_explain wrote into a log (stderr, syslog, csv, JSON lines)."""
    found = []
    for part in _json_messages(text) if text.lstrip().startswith("{") else [text]:
        starts = [m.end() for m in _LOGGED.finditer(part)]
        for start, stop in itertools.pairwise([*starts, len(part)]):
            found.append(_entry(part[start:stop]))
    return found


def _json_messages(text: str) -> list[str]:
    messages = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("message"), str):
            messages.append(entry["message"])
    return messages


def _entry(rest: str) -> str:
    """One message out of what follows: continuation lines, freed from the log's own writing."""
    body = rest.lstrip("\r\n")
    indented = body.startswith(("\t", " ", "#011"))
    if indented:
        end = _NEXT_ENTRY.search(body)
        body = body[: end.start()] if end else body
    lines = [re.sub(r"^(\t|#011)", "", line) for line in body.splitlines()]
    text = "\n".join(lines)
    # csvlog doubles quotes; the message ends with a quote and the fields after it
    closing = re.search(r'(?<!")"(?:"")*,,,', text)
    if '""' in text and closing:
        return text[: closing.start()].replace('""', '"')
    return text[: closing.start()] if closing and not text.lstrip().startswith(("{", "[")) else text
