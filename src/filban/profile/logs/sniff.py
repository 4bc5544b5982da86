"""Which format a file has: by what is in it, whatever its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from filban.errors import UsageError
from filban.profile.logs import csvlog, syslog
from filban.profile.logs.csvlog import CsvLog
from filban.profile.logs.frame import Batch
from filban.profile.logs.infer import infer
from filban.profile.logs.jsonlog import CnpgLog, JsonLog, parsed
from filban.profile.logs.prefix import Prefix
from filban.profile.logs.stderr import StderrLog
from filban.profile.logs.wrapped import KEYS, WrappedLog

SAMPLE_BYTES = 512 * 1024


class Reader(Protocol):
    """What reads one format."""

    @property
    def format(self) -> str:
        """csvlog, jsonlog, cnpg, cloudsql, docker, syslog or stderr."""

    def cut(self, data: bytes, before: bytes = b"") -> int:
        """How much of `data` belongs to whole events for sure; 0: nothing of it yet. In front of it
        stands `before`, which starts at an event."""

    def read(self, data: bytes) -> Batch:
        """The events of whole events' bytes, and what of them could not be read."""


def reader_for(data: bytes, prefix: str | None = None) -> Reader | None:
    """The reader for a file that begins with `data`; None when it is no log of PostgreSQL.

    `prefix`: log_line_prefix, where it should not be looked for. Raises UsageError when that is
    no prefix.
    """
    given = Prefix(prefix) if prefix is not None else None
    if given is not None:
        given.line  # noqa: B018  # raises for what is no prefix
    sample = data[:SAMPLE_BYTES].replace(b"\0", b"")
    if csvlog.HEAD.search(sample):
        return CsvLog()
    lines = sample.decode("utf-8", "replace").split("\n")
    if len(data) > SAMPLE_BYTES:
        lines.pop()  # cut in the middle
    try:
        return _json(sample, lines, given) or _syslog(lines, given) or _stderr(lines, given)
    except UsageError:
        if prefix is not None:
            raise
        return None


def _json(sample: bytes, lines: Sequence[str], prefix: Prefix | None) -> Reader | None:
    if sample.lstrip()[:1] == b"[" and b'"textPayload"' in sample:
        return WrappedLog("cloudsql", sample, prefix)
    for line in lines:
        document = parsed(line.encode()) if line.startswith("{") else None
        if document is None:
            continue
        if "error_severity" in document and "timestamp" in document:
            return JsonLog()
        if "logger" in document and ("record" in document or "logging_pod" in document):
            return CnpgLog()
        for name, key in KEYS.items():
            if isinstance(document.get(key), str):
                return WrappedLog(name, sample, prefix)
    return None


def _syslog(lines: Sequence[str], prefix: Prefix | None) -> Reader | None:
    first = next((line for line in lines if line.strip()), "")
    return syslog.SyslogLog(lines, prefix) if syslog.LINE.match(first) else None


def _stderr(lines: Sequence[str], prefix: Prefix | None) -> Reader | None:
    found = prefix or infer(lines)
    if found is None:
        return None
    return StderrLog(found, tabs=any(line.startswith("\t") for line in lines) or len(lines) < 50)
