"""Which index is used, on every server of the cluster, and what that makes of it."""

from __future__ import annotations

from filban.index.usage.rows import Counted, Survey, Use, Used
from filban.index.usage.survey import only, report, survey

__all__ = ["Counted", "Survey", "Use", "Used", "only", "report", "survey"]
