"""LSNs: integers inside, PostgreSQL's "16/B374D848" outside."""

from __future__ import annotations


def parse_lsn(text: str) -> int:
    """Raises ValueError for what is not an LSN."""
    high, slash, low = text.strip().partition("/")
    if not slash or not 1 <= len(high) <= 8 or not 1 <= len(low) <= 8:
        raise ValueError(f'"{text}" is not an LSN')
    return int(high, 16) << 32 | int(low, 16)


def format_lsn(lsn: int) -> str:
    """As PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
