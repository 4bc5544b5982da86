"""Sequences and integer keys that run out -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from filban.finding import Finding, Fix, Quantity, Severity
from filban.health.exhaustion.rows import IntegerKey, SequenceUse

_LARGEST = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1}
_NAMES = {"int2": "smallint", "int4": "integer", "int8": "bigint"}
_BIG = _LARGEST["int8"]


@dataclass(frozen=True, slots=True)
class ExhaustionThresholds:
    """Source: check_postgres `sequence` warns at 85 % and is critical at 95 %."""

    sequence_warning_percent: float = 85.0
    sequence_critical_percent: float = 95.0

    def severity(self, percent: float) -> Severity | None:
        if percent < self.sequence_warning_percent:
            return None
        critical = percent >= self.sequence_critical_percent
        return Severity.critical if critical else Severity.warning


@dataclass(frozen=True, slots=True)
class Room:
    """How far a sequence has come towards the first limit in its way.

    limit: its own, or that of the narrowest column it feeds; left: calls of nextval until then.
    """

    percent: float
    limit: int
    left: int
    by_column: bool


def room(use: SequenceUse) -> Room | None:
    """None before the first call, and for a sequence that goes round within its own limits."""
    if use.last_value is None:
        return None
    column = _LARGEST.get(use.column_type or "", _BIG)
    if use.increment > 0:
        limit, start = min(use.maximum, column), use.minimum
    else:
        limit, start = max(use.minimum, -column - 1), use.maximum
    by_column = limit != (use.maximum if use.increment > 0 else use.minimum)
    if use.cycles and not by_column:
        return None
    span = abs(limit - start) or 1
    percent = 100.0 * abs(use.last_value - start) / span
    left = max(0, (limit - use.last_value) // use.increment)
    return Room(percent, limit, left, by_column)


def exhausted_sequences(
    uses: Iterable[SequenceUse], limits: ExhaustionThresholds
) -> Iterator[Finding]:
    """sequence.exhaustion, one a sequence, judged by the narrowest column that it feeds."""
    for name, group in groupby(sorted(uses, key=lambda u: u.name), key=lambda u: u.name):
        members = list(group)
        rooms = [(r, use) for use in members if (r := room(use)) is not None]
        if not rooms:
            continue
        worst, use = max(rooms, key=lambda pair: pair[0].percent)
        severity = limits.severity(worst.percent)
        if severity is not None:
            yield _sequence_finding(name, severity, worst, use, members)


def _sequence_finding(
    name: str, severity: Severity, worst: Room, use: SequenceUse, members: Sequence[SequenceUse]
) -> Finding:
    kind = _NAMES.get(use.column_type or "", "") if worst.by_column else ""
    whose = f"column {use.column_name} ({kind})" if worst.by_column else "the sequence"
    return Finding(
        code="sequence.exhaustion",
        severity=severity,
        subject=name,
        title=f"{worst.percent:.1f} % of its values are used, {worst.left:,} are left",
        why=f"When {whose} reaches {worst.limit:,}, every INSERT that takes its value from here "
        "fails.",
        evidence={
            "last_value": Quantity(use.last_value or 0),
            "limit": Quantity(worst.limit),
            "left": Quantity(worst.left, "count"),
            "used_percent": Quantity(round(worst.percent, 2), "percent"),
            "sequence_type": Quantity(_NAMES.get(use.sequence_type, use.sequence_type)),
            **_column_evidence(use),
        },
        fix=_widen(use, members),
    )


def _column_evidence(use: SequenceUse) -> dict[str, Quantity]:
    if use.column_name is None:
        return {}
    kind = use.column_type or ""
    return {
        "column": Quantity(use.column_name),
        "column_type": Quantity(_NAMES.get(kind, kind)),
    }


def _widen(use: SequenceUse, members: Sequence[SequenceUse]) -> Fix:
    columns = [m for m in members if m.column_type in ("int2", "int4")]
    if any(m.widen_sql is None for m in columns):
        return PARTITION_KEY
    narrow = sorted({m.widen_sql or "" for m in columns})
    statements = list(narrow)
    up = use.increment > 0
    if use.maximum < _BIG if up else use.minimum > -_BIG - 1:
        no_limit = "NO MAXVALUE" if up else "NO MINVALUE"
        statements.append(f"ALTER SEQUENCE {use.quoted} AS bigint {no_limit};")
    if not statements:
        return Fix(advice="bigint is at its end as well: restart the sequence below, or renumber.")
    if narrow:
        return Fix(sql="\n".join(statements), lock="ACCESS EXCLUSIVE", caution=REWRITES)
    return Fix(sql="\n".join(statements), lock="SHARE ROW EXCLUSIVE")


PARTITION_KEY = Fix(
    advice="The column is part of a partition key, whose type cannot be changed: make a new "
    "partitioned table with bigint, copy the partitions over one by one, and swap the names.",
)
REWRITES = (
    "Rewrites the table and its indexes under the lock: nobody reads or writes it meanwhile. For a "
    "large table add a bigint column, fill it in batches with a trigger for new rows, and swap. "
    "Views that use the column have to be dropped and made again; widen the foreign key columns "
    "that hold the same values, and the client code's own types."
)


def exhausted_keys(
    keys: Iterable[IntegerKey], found: Mapping[str, object], limits: ExhaustionThresholds
) -> Iterator[Finding]:
    """key.exhaustion, one a column. found: columns that a finding about their sequence covers."""
    for key in keys:
        used = None if key.name in found else key_percent(key, limits)
        severity = None if used is None else limits.severity(used)
        if used is None or severity is None:
            continue
        extreme = _extreme(key)
        kind = _NAMES[key.column_type]
        yield Finding(
            code="key.exhaustion",
            severity=severity,
            subject=key.name,
            title=f"A key has reached {extreme:,}, {used:.1f} % of what {kind} holds",
            why=f"A value beyond {_LARGEST[key.column_type]:,} is refused as out of range, and the "
            "INSERT with it.",
            evidence={
                "value_at_last_analyze": Quantity(extreme),
                "used_percent": Quantity(round(used, 2), "percent"),
                "column_type": Quantity(kind),
            },
            fix=Fix(sql=key.widen_sql, lock="ACCESS EXCLUSIVE", caution=REWRITES)
            if key.widen_sql
            else PARTITION_KEY,
        )


def key_percent(key: IntegerKey, limits: ExhaustionThresholds) -> float | None:
    """Percent of the type's range on the side that is used more; None when nothing is known.

    Values near both ends at once are hashes or random numbers, which do not grow: also None.
    """
    if key.highest is None or key.lowest is None:
        return None
    largest = _LARGEST[key.column_type]
    upper, lower = 100.0 * key.highest / largest, 100.0 * key.lowest / (-largest - 1)
    if min(upper, lower) >= limits.sequence_warning_percent:
        return None
    return max(upper, lower)


def _extreme(key: IntegerKey) -> int:
    return max(key.highest or 0, key.lowest or 0, key=abs)
