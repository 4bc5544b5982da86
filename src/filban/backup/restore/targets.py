"""Where recovery is to stop, as a person says it and as PostgreSQL is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from filban.errors import UsageError
from filban.pg.lsn import format_lsn, parse_lsn

Kind = Literal["latest", "immediate", "time", "lsn", "xid", "name"]

# "2026-11-23 10:00:00.5", and behind it an offset, Z, or a zone's name.
_TIME = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})[T ](?P<clock>\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)"
    r"\s*(?P<zone>Z|[+-]\d{1,2}(?::?\d{2})?|[A-Za-z][\w/+-]*)?",
)
_NAME_MAX = 63  # MAXFNAMELEN - 1 of restore points (access/xlog_internal.h)


@dataclass(frozen=True, slots=True)
class RecoveryTarget:
    """One point. `value`: an aware datetime, an LSN, a transaction id or a name; None otherwise.

    latest: all the WAL that there is. immediate: the end of the backup. inclusive: whether the
    transaction (the record) at the point itself is kept.
    """

    kind: Kind
    value: datetime | int | str | None = None
    inclusive: bool = True

    def settings(self) -> Mapping[str, str]:
        """recovery_target_* as the server takes them."""
        inclusive = {"recovery_target_inclusive": "on" if self.inclusive else "off"}
        if isinstance(self.value, datetime):
            return {"recovery_target_time": _for_server(self.value), **inclusive}
        if self.kind == "lsn" and isinstance(self.value, int):
            return {"recovery_target_lsn": format_lsn(self.value), **inclusive}
        if self.kind == "xid":
            return {"recovery_target_xid": str(self.value), **inclusive}
        if self.kind == "name":
            return {"recovery_target_name": str(self.value)}
        return {"recovery_target": "immediate"} if self.kind == "immediate" else {}

    def __str__(self) -> str:
        if isinstance(self.value, datetime):
            return f"{_for_server(self.value)} (UTC)"
        if self.kind == "lsn" and isinstance(self.value, int):
            return ("" if self.inclusive else "just before ") + f"LSN {format_lsn(self.value)}"
        if self.kind == "xid":
            return ("" if self.inclusive else "just before ") + f"transaction {self.value}"
        if self.kind == "name":
            return f'restore point "{self.value}"'
        return "the newest WAL" if self.kind == "latest" else "the end of the backup"


LATEST = RecoveryTarget("latest")
IMMEDIATE = RecoveryTarget("immediate")


def _for_server(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")


def from_options(
    *,
    to: str | None = None,
    lsn: str | None = None,
    xid: str | None = None,
    name: str | None = None,
    latest: bool = False,
    exclusive: bool = False,
) -> RecoveryTarget:
    """The one target that was given; latest without any. Raises UsageError for two, or for what
    cannot be understood."""
    given = [bool(to), bool(lsn), bool(xid), bool(name), latest]
    if sum(given) > 1:
        raise UsageError("give one recovery target, not two", hint="--to, --to-lsn, --to-xid, …")
    if to:
        return RecoveryTarget("time", parse_time(to), not exclusive)
    if lsn:
        return RecoveryTarget("lsn", _lsn(lsn), not exclusive)
    if xid:
        return RecoveryTarget("xid", _xid(xid), not exclusive)
    if name:
        return RecoveryTarget("name", _name(name))
    return LATEST


def parse_time(text: str) -> datetime:
    """A moment with its zone: "2026-11-23 10:00:00+03:30", "… Z", "… Asia/Tehran".

    Without a zone it is refused: the reader's, the server's and UTC give three different moments,
    and a restore to the wrong one loses data. Raises UsageError.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f'"{text}" is not a time', hint="such as '2026-11-23 10:00:00+03:30' or '… Asia/Tehran'"
        )
    try:
        hour, _, rest = match["clock"].partition(":")
        naive = datetime.fromisoformat(f"{match['date']}T{hour.zfill(2)}:{rest}")
    except ValueError as error:
        raise UsageError(f'"{text}" is not a time: {error}') from error
    zone = match["zone"]
    if zone is None:
        local = naive.astimezone()
        raise UsageError(
            f'"{text}" has no time zone, so it could be several moments',
            hint=f"write '{local.isoformat(sep=' ')}' if you mean this machine's clock, "
            f"or '{naive.isoformat(sep=' ')}Z' for UTC",
        )
    return _in_zone(naive, zone, text)


def _in_zone(naive: datetime, zone: str, text: str) -> datetime:
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "")
        hours, minutes = (digits[:-2] or "0", digits[-2:]) if len(digits) > 2 else (digits, "00")
        return datetime.fromisoformat(
            f"{naive.isoformat()}{zone[0]}{hours.zfill(2)}:{minutes}"
        ).astimezone(UTC)
    try:
        place = ZoneInfo("UTC" if zone in ("Z", "z") else zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f'"{zone}" is not a time zone', hint="an offset such as +03:30, or Asia/Tehran"
        ) from error
    moment = naive.replace(tzinfo=place)
    if moment.utcoffset() != moment.replace(fold=1).utcoffset():
        raise UsageError(
            f'"{text}": the clocks in {zone} were changed then, so it is two moments or none',
            hint="write the offset instead, such as +03:30",
        )
    return moment.astimezone(UTC)


def _lsn(text: str) -> int:
    try:
        return parse_lsn(text)
    except ValueError as error:
        raise UsageError(str(error), hint="such as 0/3000028") from error


def _xid(text: str) -> int:
    if not text.isdigit() or int(text) < 3:  # 0 to 2 are reserved (access/transam.h)
        raise UsageError(f'"{text}" is not a transaction id', hint="a number, as pg_waldump has it")
    return int(text) & 0xFFFFFFFF  # pg_current_xact_id() has the epoch before it, the WAL has not


def _name(text: str) -> str:
    if not text or len(text.encode()) > _NAME_MAX or "\n" in text:
        raise UsageError(
            "that cannot be a restore point's name", hint=f"1 to {_NAME_MAX} bytes, on one line"
        )
    return text
