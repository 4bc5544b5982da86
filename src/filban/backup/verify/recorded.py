"""Every stored object against the SHA-256 that was recorded when it was stored.

A manifest covers the files of a cluster, not the padding of a tar nor the unused end of a WAL
segment: only the object's own digest makes any changed bit visible.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO, cast

from filban.backup.apart import Told, ignored
from filban.backup.verify.faults import Fault
from filban.backup.verify.stored import Source

_CHUNK = 1 << 20


class Recorded:
    """A `Source` that hashes whatever is read through it; `faults` grows as objects are closed.

    An object is read to its end when it is closed, so that each one is hashed once and whole.
    """

    def __init__(self, source: Source, code: str, prefix: str) -> None:
        self._source = source
        self._code = code
        self._prefix = prefix
        self.faults: list[Fault] = []
        self.bytes = 0
        self._judged: set[bytes] = set()

    def names(self) -> Iterator[tuple[bytes, int]]:
        return self._source.names()

    def digest(self, name: bytes) -> str | None:
        return self._source.digest(name)

    def open(self, name: bytes) -> BinaryIO:
        wanted = self._source.digest(name)
        stream = self._source.open(name)
        if wanted is None:
            return stream
        return cast("BinaryIO", io.BufferedReader(_Hashing(self, stream, name, wanted), _CHUNK))

    def rest(self, on_bytes: Told = ignored) -> None:
        """Read what nobody has read: each object of a repository is there for a reason."""
        for name, _ in self.names():
            on_bytes(self.bytes)
            if name not in self._judged:
                try:
                    self.open(name).close()
                except OSError as error:
                    self._fault(name, f"it cannot be read: {error}")

    def judge(self, name: bytes, wanted: str, found: str, size: int) -> None:
        """Called with the digest of a whole object."""
        self.bytes += size
        self._judged.add(name)
        if found != wanted:
            self._fault(name, "it is not what was stored: its SHA-256 has changed")

    def _fault(self, name: bytes, detail: str) -> None:
        subject = self._prefix + name.decode(errors="backslashreplace")
        self.faults.append(Fault(self._code, subject, detail))


class _Hashing(io.RawIOBase):
    def __init__(self, owner: Recorded, stream: BinaryIO, name: bytes, wanted: str) -> None:
        self._owner = owner
        self._stream = stream
        self._name = name
        self._wanted = wanted
        self._digest = hashlib.sha256()
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        self._digest.update(data)
        self._size += len(data)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if self.closed:
            return
        while data := self._stream.read(_CHUNK):
            self._digest.update(data)
            self._size += len(data)
        self._stream.close()
        super().close()
        self._owner.judge(self._name, self._wanted, self._digest.hexdigest(), self._size)
