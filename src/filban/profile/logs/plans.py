"""Plans that auto_explain has written: of each statement the slowest one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from filban.profile.logs.keys import Registry
from filban.profile.logs.rows import SlowPlan

MOST = 200  # statements of which a plan is kept
PLAN_CHARACTERS = 20_000


class Plans:
    """Counts plans and keeps the slowest of the slowest statements."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: dict[int, SlowPlan] = {}
        self._counts: dict[int, int] = {}

    def take(self, lines: pl.DataFrame, registry: Registry) -> None:
        """`lines` with `key`, `plan` and `nested`."""
        plans = lines.filter(pl.col("plan").is_not_null())
        if plans.is_empty():
            return
        self.count += plans.height
        plans = plans.with_columns(registry.numbers(plans)).with_row_index("row")
        slowest = plans.group_by("number", maintain_order=True).agg(
            pl.len(), pl.col("row").sort_by("ms", descending=True).first()
        )
        for number, count, row in slowest.iter_rows():
            self._counts[number] = self._counts.get(number, 0) + count
            self._keep(number, plans.row(row, named=True), registry)

    def _keep(self, number: int, row: dict[str, Any], registry: Registry) -> None:
        known = self._kept.get(number)
        if known is not None and row["ms"] <= known.ms:
            return
        identity = registry.identities[number]
        self._kept[number] = SlowPlan(
            fingerprint=identity.fingerprint, query=identity.query, plans=0, ms=row["ms"],
            time=row["time"], database=row["db"], user=row["user"], nested=row["nested"],
            text=row["text"][:PLAN_CHARACTERS], plan=row["plan"][:PLAN_CHARACTERS],
        )  # fmt: skip
        if len(self._kept) > MOST:
            self.forget({min(self._kept, key=lambda number: self._kept[number].ms)})

    def forget(self, numbers: set[int]) -> None:
        for number in numbers:
            self._kept.pop(number, None)
            self._counts.pop(number, None)

    def rows(self) -> list[SlowPlan]:
        """Slowest first."""
        kept = [replace(plan, plans=self._counts[n]) for n, plan in self._kept.items()]
        return sorted(kept, key=lambda plan: -plan.ms)
