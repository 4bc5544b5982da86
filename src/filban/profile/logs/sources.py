"""Files, directories, globs, standard input; compressed or not."""

from __future__ import annotations

import bz2
import glob
import gzip
import importlib
import io
import lzma
import re
import sys
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from filban.errors import ExtraMissing, UsageError

STDIN = "-"
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
}
_COMPRESSED = re.compile(r"\.(?:gz|zst|zstd|lz4|bz2|xz)$")
# log_destination=stderr,csvlog,jsonlog writes the same events three times, under one stem. What
# tells most comes first.
_ENDINGS = (".csv", ".json", ".log")
# What a broken or cut off compressed file ends with.
BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, RuntimeError)


def expand(arguments: Sequence[str]) -> tuple[list[Path | str], list[tuple[Path, str]]]:
    """(what to read in order of name, what is left out and why). "-" is standard input.

    Raises UsageError for a name that nothing answers to.
    """
    found: list[Path | str] = []
    for argument in arguments:
        found.extend([STDIN] if argument == STDIN else sorted(_files(argument), key=_by_time))
    unique = list(dict.fromkeys(found))
    left_out = _same_events([path for path in unique if isinstance(path, Path)])
    skipped = {path for path, _ in left_out}
    return [source for source in unique if source not in skipped], left_out


def _files(argument: str) -> Iterable[Path]:
    path = Path(argument)
    if path.is_dir():
        files = [f for f in path.iterdir() if f.is_file() and not f.name.startswith(".")]
        if not files:
            raise UsageError(f"there is no file in {path}", hint="give the server's log_directory")
        return files
    if path.exists():
        return [path]
    matches = [Path(name) for name in glob.glob(argument) if Path(name).is_file()]
    if not matches:
        raise UsageError(
            f"there is no file {argument}", hint="give files, a directory, a glob or -"
        )
    return matches


def _by_time(path: Path | str) -> tuple[float, str]:
    """Rotated files in the order in which they were written."""
    return Path(path).stat().st_mtime, str(path)


def _same_events(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    by_stem: dict[Path, dict[str, Path]] = {}
    for path in paths:
        name = _COMPRESSED.sub("", path.name)
        for ending in _ENDINGS:
            if name.endswith(ending):
                by_stem.setdefault(path.with_name(name.removesuffix(ending)), {})[ending] = path
    left_out = []
    for formats in by_stem.values():
        best, *others = (formats[ending] for ending in _ENDINGS if ending in formats)
        left_out += [(path, f"the same events as {best.name}") for path in others]
    return left_out


def open_log(source: Path | str) -> BinaryIO:
    """The uncompressed bytes. Raises UsageError (not there, no right) or ExtraMissing."""
    if source == STDIN:
        return uncompressed(sys.stdin.buffer)
    try:
        return uncompressed(Path(source).open("rb"))
    except OSError as error:
        raise UsageError(
            f"cannot read {source}: {error.strerror}",
            hint="the server's log is readable by its owner: run as postgres, or set log_file_mode",
        ) from error


def uncompressed(raw: IO[bytes]) -> BinaryIO:
    """By the first bytes, whatever the name says."""
    buffered = raw if hasattr(raw, "peek") else io.BufferedReader(cast("io.RawIOBase", raw))
    head = buffered.peek(6)[:6]
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if kind == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=buffered))
    if kind == "bzip2":
        return cast("BinaryIO", bz2.BZ2File(buffered))
    if kind == "xz":
        return cast("BinaryIO", lzma.LZMAFile(buffered))
    if kind == "zstd":
        return cast("BinaryIO", io.BufferedReader(_Zstd(buffered)))
    if kind == "lz4":
        return cast("BinaryIO", _module("lz4.frame").open(buffered))
    return cast("BinaryIO", buffered)


class _Zstd(io.RawIOBase):
    """zstandard's own reader takes a file that is cut off for one that is whole."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._new = _module("zstandard").ZstdDecompressor().decompressobj
        self._frame: Any = None
        self._input = b""
        self._output = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._output:
            self._input = self._input or self._raw.read(io.DEFAULT_BUFFER_SIZE * 16)
            if not self._input:
                if self._frame is not None:
                    raise EOFError("it ends within a zstd frame")
                return 0
            self._frame = self._frame or self._new()
            self._output, self._input = self._frame.decompress(self._input), b""
            if self._frame.eof:
                self._input, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._output))
        buffer[:count], self._output = self._output[:count], self._output[count:]
        return count


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExtraMissing(name.split(".")[0], "ops") from error
