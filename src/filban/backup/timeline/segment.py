"""WAL segments: what their names and their first page say.

Sources: access/xlog_internal.h (XLogFileName, XLogLongPageHeaderData) of PostgreSQL 14 to 18.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

NAME = re.compile(r"[0-9A-F]{24}")
HISTORY_NAME = re.compile(r"([0-9A-F]{8})\.history")
MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES = 1 << 20, 1 << 30
# xlp_magic, xlp_info, xlp_tli, xlp_pageaddr, xlp_rem_len, padding, xlp_sysid, seg_size, blcksz;
# native byte order: the archive is read where the server's architecture is.
_LONG_HEADER = struct.Struct("=HHIQI4xQII")
HEADER_BYTES = _LONG_HEADER.size
_LONG = 0x0002  # XLP_LONG_HEADER
# XLOG_PAGE_MAGIC by major: a segment of another major is another cluster's, whatever it is called.
PAGE_MAGIC = {14: 0xD10D, 15: 0xD110, 16: 0xD113, 17: 0xD116, 18: 0xD118}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One segment's place: its timeline and its number (LSN divided by the segment's size)."""

    timeline: int
    number: int

    def name(self, segment_bytes: int) -> str:
        per_log = (1 << 32) // segment_bytes
        return f"{self.timeline:08X}{self.number // per_log:08X}{self.number % per_log:08X}"


@dataclass(frozen=True, slots=True)
class FirstPage:
    """What the first page of a segment says. `start` is its LSN."""

    magic: int
    timeline: int
    start: int
    system_identifier: int
    segment_bytes: int


def place(name: str, segment_bytes: int) -> Place:
    """A segment's place, from its name. Raises ValueError for what is not a segment's name."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name} is not the name of a WAL segment")
    timeline, log, low = (int(name[i : i + 8], 16) for i in (0, 8, 16))
    per_log = (1 << 32) // segment_bytes
    if low >= per_log:
        raise ValueError(f"{name} cannot be with segments of {segment_bytes} bytes")
    return Place(timeline, log * per_log + low)


def first_page(data: bytes) -> FirstPage:
    """Read the long header at a segment's beginning. Raises ValueError if it is none."""
    if len(data) < HEADER_BYTES:
        raise ValueError(f"it has only {len(data)} bytes")
    magic, info, timeline, start, _, system, size, _ = _LONG_HEADER.unpack_from(data)
    if not info & _LONG or not MIN_SEGMENT_BYTES <= size <= MAX_SEGMENT_BYTES or size & (size - 1):
        raise ValueError("it does not begin with a WAL page header")
    return FirstPage(magic, timeline, start, system, size)


def major_of(magic: int) -> int | None:
    """The PostgreSQL major that writes this page magic; None for one that we do not know."""
    return next((major for major, known in PAGE_MAGIC.items() if known == magic), None)
