"""jsonlog (PostgreSQL 15+), one object a line; and CloudNativePG's lines, which wrap csvlog's
columns in one."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import polars as pl

from filban.profile.logs.frame import Batch, Unread, as_text, conform, looks_packed, times

# column of SCHEMA -> key of a jsonlog line
JSONLOG = {
    "log_time": "timestamp", "user": "user", "db": "dbname", "pid": "pid",
    "app": "application_name", "host": "remote_host",
    "level": "error_severity", "sqlstate": "state_code",
    "message": "message", "detail": "detail", "context": "context", "statement": "statement",
    "query_id": "query_id",
}  # fmt: skip
# … and of the `record` in a line of CloudNativePG
CNPG = {
    "log_time": "log_time", "user": "user_name", "db": "database_name", "pid": "process_id",
    "app": "application_name", "host": "connection_from", "level": "error_severity",
    "sqlstate": "sql_state_code", "message": "message", "detail": "detail", "context": "context",
    "statement": "query", "query_id": "query_id",
}  # fmt: skip


def _fields(keys: dict[str, str]) -> dict[str, pl.DataType]:
    return {key: pl.String() for key in keys.values()}


class JsonLog:
    """Reads jsonlog."""

    format = "jsonlog"
    _keys: ClassVar[dict[str, str]] = JSONLOG
    _schema: ClassVar[dict[str, pl.DataType]] = _fields(JSONLOG)
    # As the server writes them; other programs that pass lines on may write texts.
    _typed: ClassVar[dict[str, pl.DataType]] = _schema | {
        JSONLOG["pid"]: pl.Int64(),
        JSONLOG["query_id"]: pl.Int64(),
    }

    def cut(self, data: bytes, before: bytes = b"") -> int:  # noqa: ARG002
        return data.rfind(b"\n") + 1

    def read(self, data: bytes) -> Batch:
        raw = self._frame(data, self._typed)
        if raw is None:  # numbers as texts, not UTF-8, or lines that are no JSON
            data = as_text(data)
            raw = self._frame(data, self._schema)
        return Batch(self._events(raw)) if raw is not None else self._slow(data)

    def _frame(self, data: bytes, schema: dict[str, pl.DataType]) -> pl.DataFrame | None:
        if looks_packed(data):
            return None
        try:
            raw = pl.read_ndjson(data, schema=schema)
        except pl.exceptions.PolarsError:
            return None
        raw = self._flat(raw)
        needed = ("log_time", "level", "message")
        return raw if all(raw[name].null_count() == 0 for name in needed) else None

    def _flat(self, raw: pl.DataFrame) -> pl.DataFrame:
        return raw.select(pl.col(key).alias(name) for name, key in self._keys.items())

    def _slow(self, data: bytes) -> Batch:
        unread = Unread()
        rows: list[dict[str, Any]] = []
        for line in data.split(b"\n"):
            if not line.strip():
                continue
            record = self._record(line)
            if record is None:
                unread.add(line)
            elif record:
                rows.append({name: _text(record.get(key)) for name, key in self._keys.items()})
        raw = pl.DataFrame(rows, schema=dict.fromkeys(self._keys, pl.String))
        return Batch(self._events(raw), unread)

    def _record(self, line: bytes) -> dict[str, Any] | None:
        """The object with the keys; None for a line that is none, {} for one to be passed over."""
        document = parsed(line)
        if document is None or not all(
            isinstance(document.get(self._keys[name]), str)
            for name in ("log_time", "level", "message")
        ):
            return None
        return document

    def _events(self, raw: pl.DataFrame) -> pl.DataFrame:
        return conform(raw.with_columns(times(raw["log_time"]).alias("time")))


class CnpgLog(JsonLog):
    """Reads what `kubectl logs` prints of a CloudNativePG instance: PostgreSQL's events are those
    with a `record`; the other lines are the operator's own."""

    format = "cnpg"
    _keys: ClassVar[dict[str, str]] = CNPG
    _schema: ClassVar[dict[str, pl.DataType]] = {
        "logger": pl.String(),
        "record": pl.Struct(_fields(CNPG)),
    }
    _typed = _schema

    def _flat(self, raw: pl.DataFrame) -> pl.DataFrame:
        return super()._flat(raw.filter(pl.col("logger") == "postgres").unnest("record"))

    def _record(self, line: bytes) -> dict[str, Any] | None:
        document = parsed(line)
        if document is None:
            return None
        record = document.get("record")
        if document.get("logger") != "postgres" or not isinstance(record, dict):
            return {}
        return record


def parsed(line: bytes) -> dict[str, Any] | None:
    """A line's object; None when it is not one (torn, no JSON, nested beyond reason)."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).encode("utf-8", "replace").decode()
