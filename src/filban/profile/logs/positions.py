"""How far each file has been read, so that nothing is counted twice: not after a rotation that
renames, copies or compresses, and not when a file is named twice.

A file is known again by its content, not by its name: the hash of its first bytes, and of the bytes
before the place where reading ended, both uncompressed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from filban.errors import DiskFull, UsageError
from filban.profile.logs.feed import TAIL

_BLOCK = 1024 * 1024
HEAD = 1024  # bytes; a log's first lines have times in milliseconds
MOST = 10_000  # files that are remembered, the latest read ones
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Position:
    """`offset` uncompressed bytes are read; hashes of the first `head_bytes` and the last
    `tail_bytes` of them."""

    head: str
    head_bytes: int
    tail: str
    tail_bytes: int
    offset: int


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Positions:
    """All files that were read, by content."""

    def __init__(self, known: Sequence[Position] = ()) -> None:
        self._known: dict[tuple[str, int], Position] = {(p.head, p.head_bytes): p for p in known}

    @classmethod
    def load(cls, file: Path) -> Positions:
        """Empty when the file is not there yet. Raises UsageError when it is not one of ours."""
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            if document["version"] != _VERSION:
                raise ValueError
            return cls([Position(**entry) for entry in document["files"]])
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{file} is not a state file of filban logs",
                hint="name another one; a new one is made, and everything counts again",
            ) from error

    def save(self, file: Path) -> None:
        """Replace the file as a whole. Raises DiskFull or UsageError."""
        files = [asdict(p) for p in list(self._known.values())[-MOST:]]
        new = file.with_name(f".{file.name}.{os.getpid()}.new")
        try:
            with new.open("w", encoding="utf-8") as stream:
                json.dump({"version": _VERSION, "files": files}, stream)
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(file)
        except OSError as error:
            new.unlink(missing_ok=True)
            if error.errno == 28:  # ENOSPC
                raise DiskFull(f"no room to write {file}", hint="free some space there") from error
            raise UsageError(
                f"cannot write {file}: {error.strerror}", hint="name a file you may write"
            ) from error

    def offset(self, head: bytes, open_again: Callable[[], BinaryIO]) -> int:
        """How much of the file that begins with `head` (HEAD bytes) has been read; 0 for a new one.

        `open_again` gives its uncompressed bytes from the beginning, for looking.
        """
        for position in self._candidates(head):
            with open_again() as stream:
                before = skip(stream, position.offset, position.tail_bytes)
            if digest(before) == position.tail:
                return position.offset
        return 0

    def read(self, head: bytes, tail: bytes, offset: int) -> None:
        """Remember that `offset` bytes are read, of which these are the first and the last."""
        head, tail = head[: min(HEAD, offset)], tail[-min(TAIL, offset) :]
        if offset == 0:
            return
        for position in self._candidates(head):
            self._known.pop((position.head, position.head_bytes), None)
        position = Position(digest(head), len(head), digest(tail), len(tail), offset)
        self._known[position.head, position.head_bytes] = position

    def _candidates(self, head: bytes) -> list[Position]:
        lengths = {length for _, length in self._known if length <= len(head)}
        found = (self._known.get((digest(head[:n]), n)) for n in lengths)
        return sorted((p for p in found if p is not None), key=lambda p: -p.offset)


def skip(stream: BinaryIO, offset: int, keep: int = 0) -> bytes:
    """Read and forget `offset` bytes but the last `keep`, which are returned (fewer at the end)."""
    left, last = offset, b""
    while left and (block := stream.read(min(_BLOCK, left))):
        left -= len(block)
        last = (last + block)[-keep:] if keep else b""
    return b"" if left else last
