"""Decompress ahead of whoever reads: on another core than the one that hashes or writes."""

from __future__ import annotations

import io
import queue
import threading
from typing import BinaryIO

_CHUNK = 1 << 20
_CHUNKS_AHEAD = 8
_POLL_SECONDS = 0.1


class Ahead(io.RawIOBase):
    """`stream`, read by a thread of its own, at most eight megabytes ahead. What a read of it
    raises is raised by ours. Closing it waits for the thread; `stream` stays the caller's."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._queue: queue.Queue[bytes | Exception] = queue.Queue(_CHUNKS_AHEAD)
        self._stopped = threading.Event()
        self._rest = b""
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="filban-ahead", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                chunk: bytes | Exception = self._stream.read(_CHUNK)
            except Exception as error:  # noqa: BLE001 - handed over, not swallowed
                chunk = error
            self._put(chunk)
            if not chunk or isinstance(chunk, Exception):
                return

    def _put(self, chunk: bytes | Exception) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(chunk, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._rest and not self._ended:
            chunk = self._queue.get()
            if isinstance(chunk, Exception):
                self._ended = True
                raise chunk
            self._rest, self._ended = chunk, not chunk
        if size < 0 or size >= len(self._rest):
            data, self._rest = self._rest, b""
        else:
            data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        super().close()
