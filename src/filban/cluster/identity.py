"""Give a copied data directory a system identifier of its own, as initdb would have.

Copies of one template would otherwise pass for the same cluster: a standby could follow the wrong
primary, a backup go into the wrong repository, and no test would notice.
"""

from __future__ import annotations

import os
import secrets
import struct
import time
from pathlib import Path

from filban.errors import ClusterError

# CRC-32C (Castagnoli), reflected: what PostgreSQL guards pg_control with (src/port/pg_crc32c.h).
_POLYNOMIAL = 0x82F63B78
# ControlFileData is padded to 8 kB; its CRC is its last member, somewhere in the first 512 bytes
# (PG_CONTROL_MAX_SAFE_SIZE, src/include/catalog/pg_control.h).
_CONTROL_MAX = 512
# XLogLongPageHeaderData.xlp_sysid comes after the padded XLogPageHeaderData of 24 bytes.
_SYSID_IN_WAL = 24


def new_system_identifier() -> int:
    """As initdb makes it: seconds, then microseconds and what the process adds (here: chance)."""
    return int(time.time()) << 32 | secrets.randbits(32)


def stamp(data_dir: Path, identifier: int) -> None:
    """Write `identifier` into pg_control and the WAL of a cleanly shut down data directory.

    Raises ClusterError if pg_control is not as expected; nothing has been written then.
    """
    control = data_dir / "global" / "pg_control"
    _overwrite(control, 0, _with_identifier(control.read_bytes()[:_CONTROL_MAX], identifier))
    for segment in (data_dir / "pg_wal").glob("[0-9A-F]" * 24):
        _overwrite(segment, _SYSID_IN_WAL, struct.pack("=Q", identifier))


def _with_identifier(control: bytes, identifier: int) -> bytes:
    """The guarded part of pg_control with another identifier (its first 8 bytes) and a new CRC.

    Where the CRC is depends on the version: it is the place that holds the CRC of all before it.
    """
    crc = 0xFFFFFFFF
    for end, byte in enumerate(control):
        if (
            end % 4 == 0
            and end > 8
            and struct.unpack_from("=I", control, end) == (crc ^ 0xFFFFFFFF,)
        ):
            body = struct.pack("=Q", identifier) + control[8:end]
            return body + struct.pack("=I", crc32c(body))
        crc = _step(crc, byte)
    raise ClusterError(
        "pg_control of the template is damaged: no checksum fits it",
        hint="remove filban's cache directory, or create the cluster without the template cache",
    )


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _step(crc, byte)
    return crc ^ 0xFFFFFFFF


def _step(crc: int, byte: int) -> int:
    crc ^= byte
    for _ in range(8):
        crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        os.pwrite(descriptor, data, offset)
    finally:
        os.close(descriptor)
