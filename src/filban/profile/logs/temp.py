"""Temporary files (log_temp_files) by the statement that needed them, by columns."""

from __future__ import annotations

import polars as pl

from filban.profile.logs.keys import Registry, keys
from filban.profile.logs.lines import plan_parts
from filban.profile.logs.rows import TempFiles

WANTED = "^temporary file: "
_SIZE = r", size (\d+)$"
_EXECUTIONS = ("statement", "execute", "fetch", "plan")
# In the extended protocol the file goes with the portal, at the Sync that comes with the Execute:
# milliseconds after the execution's line, and without a STATEMENT of its own.
_DIRECTLY_MS = 100
_PROCESSES = 1_000  # whose last execution is kept for the next batch


class Owners:
    """Finds the statement of a temporary file that was reported without one: what its process
    had executed directly before."""

    def __init__(self) -> None:
        self._last: pl.DataFrame | None = None

    def fill(self, lines: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
        """`others` of `lines.split` with `statement` where it could be found."""
        ran = lines.filter(pl.col("kind").is_in(_EXECUTIONS)).select(
            "order", "pid", pl.col("time").alias("at"), "kind", "text"
        )
        ran = ran if self._last is None else pl.concat([self._last, ran])
        last = ran.unique("pid", keep="last", maintain_order=True).tail(_PROCESSES)
        self._last = last.with_columns(pl.lit(-1, pl.Int64).alias("order"))
        orphans = others.filter(
            pl.col("statement").is_null() & pl.col("message").str.contains(WANTED)
        )
        if orphans.is_empty() or ran.is_empty():
            return others
        return _filled(others, _owned(orphans, ran))


def _owned(orphans: pl.DataFrame, ran: pl.DataFrame) -> dict[int, str]:
    """Order of an event -> text of the execution directly before it."""
    ran = ran.with_columns(pl.col("order").set_sorted())
    found = orphans.select("order", "pid", "time").join_asof(
        ran, on="order", by="pid", strategy="backward", check_sortedness=False
    )
    after = (pl.col("time") - pl.col("at")).dt.total_milliseconds()
    rows = found.filter(after <= _DIRECTLY_MS).select("order", "kind", "text")
    return {
        order: plan_parts(text)[0] if kind == "plan" else text
        for order, kind, text in rows.iter_rows()
    }


def _filled(others: pl.DataFrame, owned: dict[int, str]) -> pl.DataFrame:
    if not owned:
        return others
    text = pl.col("order").replace_strict(owned, default=None, return_dtype=pl.String)
    return others.with_columns(pl.coalesce("statement", text).alias("statement"))


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
