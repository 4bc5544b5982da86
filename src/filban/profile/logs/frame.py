"""The one shape that every log format is read into: a polars frame of events."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

# One row per event. `time` is the log's own clock (log_timezone), without a zone; `level` is
# PostgreSQL's English word, whatever lc_messages was; [unknown] and empty are null. `host` may have
# its port, as in csvlog (host:port) or %r (host(port)).
SCHEMA: dict[str, pl.DataType] = {
    "time": pl.Datetime("ms"),
    "pid": pl.Int64(),
    "user": pl.String(),
    "db": pl.String(),
    "app": pl.String(),
    "host": pl.String(),
    "level": pl.String(),
    "sqlstate": pl.String(),
    "message": pl.String(),
    "detail": pl.String(),
    "context": pl.String(),
    "statement": pl.String(),
    "query_id": pl.Int64(),
}

# polars unpacks what begins like gzip, zlib or zstd. Our pieces are unpacked already: there it is
# damage, or a bomb.
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")

UNREAD_SAMPLES = 5  # lines of each file that are kept to be shown
UNREAD_CHARACTERS = 200


@dataclass(slots=True)
class Unread:
    """What could not be read: how many lines or records, and the first few of them."""

    count: int = 0
    samples: list[str] = field(default_factory=list)

    def add(self, text: str | bytes, count: int = 1) -> None:
        self.count += count
        if len(self.samples) < UNREAD_SAMPLES:
            if isinstance(text, bytes):
                text = text[: 4 * UNREAD_CHARACTERS].decode("utf-8", "replace")
            self.samples.append(text[:UNREAD_CHARACTERS])

    def merge(self, other: Unread) -> None:
        self.count += other.count
        self.samples += other.samples[: UNREAD_SAMPLES - len(self.samples)]


@dataclass(slots=True)
class Batch:
    """Events of one piece of a file, in its order, and what of the piece was not readable."""

    events: pl.DataFrame
    unread: Unread = field(default_factory=Unread)


# How a time may be written: the characters that count, and their format.
_TIMES = (
    (23, "%Y-%m-%d %H:%M:%S%.3f"),
    (19, "%Y-%m-%d %H:%M:%S"),
    (23, "%Y-%m-%dT%H:%M:%S%.3f"),
    (19, "%Y-%m-%dT%H:%M:%S"),
)


def times(texts: pl.Series) -> pl.Series:
    """`2026-11-23 09:41:00.123 UTC`, RFC 3339 or a Unix epoch as Datetime; null where it is none.

    Each form is tried only where the ones before have failed: a log has one.
    """
    parsed = pl.Series(texts.name, [None], pl.Datetime("ms")).new_from_index(0, len(texts))
    for length, form in _TIMES:
        if parsed.null_count() == texts.null_count():
            return parsed
        tried = texts.str.head(length).str.to_datetime(form, strict=False, time_unit="ms")
        parsed = parsed.fill_null(tried) if parsed.null_count() < len(parsed) else tried
    epoch = (texts.cast(pl.Float64, strict=False) * 1000).round().cast(pl.Int64, strict=False)
    return parsed.fill_null(epoch.cast(pl.Datetime("ms")))


def known(column: str) -> pl.Expr:
    """Empty and `[unknown]` (a session before it has authenticated) as null."""
    text = pl.col(column)
    return pl.when((text != "[unknown]") & (text != "")).then(text).alias(column)


def conform(events: pl.DataFrame) -> pl.DataFrame:
    """The columns of SCHEMA in its order; what a format does not have is null."""
    given = events.schema
    return events.select(
        pl.lit(None, dtype).alias(name)
        if name not in given
        else pl.col(name)
        if given[name] == dtype
        else pl.col(name).cast(dtype, strict=False)
        for name, dtype in SCHEMA.items()
    )


def as_text(data: bytes) -> bytes:
    """`data` as UTF-8 without NUL: databases of other encodings write into the same log, and a
    crash of the machine leaves blocks of NUL."""
    return data.replace(b"\0", b"").decode("utf-8", "replace").encode()


def looks_packed(data: bytes) -> bool:
    """Whether polars would take a piece of a log for compressed data."""
    return data.startswith(_PACKED)
