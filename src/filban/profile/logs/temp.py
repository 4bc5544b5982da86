"""Temporary files (log_temp_files) by the statement that needed them, by columns."""

from __future__ import annotations

import polars as pl

from filban.profile.logs.keys import Registry, keys
from filban.profile.logs.rows import TempFiles

WANTED = "^temporary file: "
_SIZE = r", size (\d+)$"


class TempFileLog:
    """Adds batches up by statement."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._sums: dict[int, list[int]] = {}
        self.count = 0
        self.bytes = 0

    def take(self, events: pl.DataFrame) -> None:
        """Events whose message matches WANTED."""
        if events.is_empty():
            return
        files = events.select(
            pl.col("message")
            .str.extract(_SIZE)
            .cast(pl.Int64, strict=False)
            .fill_null(0)
            .alias("size"),
            pl.col("statement").fill_null("").alias("text"),
        )
        files = files.with_columns(keys(files["text"]))
        files = files.with_columns(self._registry.numbers(files))
        sums = files.group_by("number").agg(
            pl.len(), pl.col("size").sum().alias("sum"), pl.col("size").max().alias("max")
        )
        self._fold()
        for number, count, size, largest in sums.sort("number").iter_rows():
            self.count += count
            self.bytes += size
            row = self._sums.setdefault(number, [0, 0, 0])
            row[0] += count
            row[1] += size
            row[2] = max(row[2], largest)

    def _fold(self) -> None:
        """Statements that the registry has forgotten belong to the others."""
        gone = [number for number in self._sums if number not in self._registry.identities]
        for number in gone:
            count, size, largest = self._sums.pop(number)
            others = self._sums.setdefault(0, [0, 0, 0])
            others[:] = [others[0] + count, others[1] + size, max(others[2], largest)]

    def rows(self) -> list[TempFiles]:
        """Most bytes first."""
        self._fold()
        rows = []
        for number, (count, size, largest) in self._sums.items():
            identity = self._registry.identities[number]
            rows.append(TempFiles(identity.fingerprint, identity.query, count, size, largest))
        return sorted(rows, key=lambda row: (-row.bytes, row.query))
