"""Upkeep that is done: rebuilt, vacuumed, analysed and cleaned, one statement at a time."""

from __future__ import annotations

from filban.index.maintain.collect import planned
from filban.index.maintain.plan import Plan, Step
from filban.index.maintain.window import Window
from filban.index.maintain.work import Done, Limits, run

__all__ = ["Done", "Limits", "Plan", "Step", "Window", "planned", "run"]
