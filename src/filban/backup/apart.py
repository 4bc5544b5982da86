"""Blocking work in a thread that ends when its caller is cancelled.

`asyncio.to_thread` alone leaves the thread at work: it would go on writing into a directory that is
being removed, and keep the program from ending after Ctrl-C.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
# Told how many bytes are done; the work calls it often, and has to let through what it raises.
Told = Callable[[int], None]
# How many bytes lie between two reports: a bar does not need every small file.
_STEP_BYTES = 4 << 20


class Stopped(Exception):
    """The caller has been cancelled: the work ends here. Never leaves `apart`."""


def ignored(done: int) -> None:
    """For who wants no reports."""


async def apart(work: Callable[[Told], Result], on_bytes: Told = ignored) -> Result:
    """Run `work(told)` in a thread; `on_bytes` is called in the event loop. If we are cancelled,
    the next `told` raises in the thread, and we wait for its end."""
    loop, stop = asyncio.get_running_loop(), threading.Event()
    reported = 0

    def told(done: int) -> None:
        nonlocal reported
        if stop.is_set():
            raise Stopped
        if done - reported >= _STEP_BYTES or done < reported:
            reported = done
            loop.call_soon_threadsafe(on_bytes, done)

    task = asyncio.ensure_future(asyncio.to_thread(work, told))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([task])
        task.exception()  # Stopped, or what it met on the way: the cancellation counts
        raise
