"""A report as one JSON document with stable keys."""

from __future__ import annotations

import dataclasses
import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from filban.finding import Report


def dumps(document: Report | Any) -> str:
    """`document` as JSON text: a Report, or anything made of dicts, lists and scalars."""
    plain = document.as_json() if isinstance(document, Report) else document
    return json.dumps(plain, ensure_ascii=False, indent=2, default=_default)


def _default(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
