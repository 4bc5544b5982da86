"""The checksum that guards pg_control."""

from __future__ import annotations

import struct

import pytest

from filban.cluster import identity
from filban.errors import ClusterError


def test_crc32c_check_value():
    # The check value of CRC-32C in every catalogue of CRCs (RFC 3720, appendix B.4 has more).
    assert identity.crc32c(b"123456789") == 0xE3069283


def test_a_new_identifier_with_a_fitting_checksum(tmp_path):
    body = bytes(range(200)) + bytes(88)
    control = tmp_path / "global" / "pg_control"
    control.parent.mkdir()
    (tmp_path / "pg_wal").mkdir()
    control.write_bytes(body + struct.pack("=I", identity.crc32c(body)) + bytes(8192 - 292))
    identity.stamp(tmp_path, 42)
    written = control.read_bytes()
    assert written[:8] == struct.pack("=Q", 42)
    assert written[8:288] == body[8:]
    assert struct.unpack_from("=I", written, 288) == (identity.crc32c(written[:288]),)
    assert len(written) == 8192


def test_a_damaged_pg_control_is_refused_and_left_alone(tmp_path):
    control = tmp_path / "global" / "pg_control"
    control.parent.mkdir()
    control.write_bytes(b"\x01" * 8192)
    with pytest.raises(ClusterError, match="damaged"):
        identity.stamp(tmp_path, 42)
    assert control.read_bytes() == b"\x01" * 8192
