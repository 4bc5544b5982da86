"""`filban top` while it runs: a task asks the server; keys, answers and resizes make it draw."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from filban.cli.keys import keyboard
from filban.errors import ConnectError, ConnectionLost, RightsMissing, StatementFailed
from filban.pg import Server, Session, Target, session
from filban.profile.top import (
    Look,
    Quit,
    Rates,
    Signal,
    View,
    arranged,
    look,
    press,
    rates,
)
from filban.profile.top import signal as send
from filban.render.top import Shown, screen
from filban.units import duration

# A frozen server never closes its connection: without an answer for so long it counts as gone.
SILENT_SECONDS = 10.0
RETRY_SECONDS = 1.0


class Top:
    """What the screen is made of, and what is still to be done."""

    def __init__(self, target: Target, view: View) -> None:
        self.target = target
        self.view = view
        self.server: Server | None = None
        self.look: Look | None = None
        self._before: Look | None = None  # of this connection: counters begin anew with a server
        self.rates = Rates()
        self.gone_since: datetime | None = None
        self.quits = False
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._signals: list[Signal] = []

    async def run(self, console: Console) -> None:
        """Until q or a closed terminal. Raises what the first connection raises; a server that
        goes away later is waited for."""
        polling = asyncio.create_task(self._poll())
        polling.add_done_callback(lambda _: self._changed.set())
        try:
            await self._changed.wait()
            if not polling.done():
                await self._interact(polling, console)
            if polling.done():
                await polling
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    async def _interact(self, polling: asyncio.Task[None], console: Console) -> None:
        loop = asyncio.get_running_loop()
        with (
            keyboard(sys.stdin.fileno(), self.pressed),
            Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live,
        ):
            loop.add_signal_handler(signal.SIGWINCH, self._changed.set)
            try:
                while not self.quits and not polling.done():
                    self._changed.clear()
                    live.update(Group(*self._lines(console)), refresh=True)
                    await self._changed.wait()
            finally:
                loop.remove_signal_handler(signal.SIGWINCH)

    def _lines(self, console: Console) -> list[Text]:
        if self.server is None or self.look is None:
            return []
        shown = Shown(self.server, self.look, self.rates, self.view, self.gone_since)
        return screen(shown, console.width, console.height)

    def pressed(self, key: str) -> None:
        """What a key does; "" is the end of the terminal."""
        rows = [] if self.look is None else arranged(self.look.sessions, self.view)
        self.view, request = press(self.view, key, rows) if key else (self.view, Quit())
        if isinstance(request, Quit):
            self.quits = True
        elif request is not None:
            self._signals.append(request)
        self._wanted.set()
        self._changed.set()

    async def _poll(self) -> None:
        while True:
            try:
                async with session(self.target) as opened:
                    self.server = opened.server
                    self._before = None
                    while True:
                        await self._turn(opened)
            except (ConnectError, ConnectionLost, StatementFailed, TimeoutError) as error:
                if self.look is None:
                    raise
                self.gone_since = self.gone_since or datetime.now(UTC)
                self._say(
                    f"no answer for {SILENT_SECONDS:g} s"
                    if isinstance(error, TimeoutError)
                    else error.message
                )
                await asyncio.sleep(RETRY_SECONDS)

    async def _turn(self, opened: Session) -> None:
        """One look, then the signals that are asked for until the next one is due."""
        if not self.view.paused or self.look is None or self.gone_since:
            async with asyncio.timeout(SILENT_SECONDS):
                found = await look(opened)
            self.rates = rates(self._before, found)
            self.look = self._before = found
            if self.gone_since is not None:
                self._say(f"it answers again, after {_ago(self.gone_since)}")
            self.gone_since = None
            self._changed.set()
        due = asyncio.get_running_loop().time() + self.view.interval
        while (left := due - asyncio.get_running_loop().time()) > 0:
            try:
                async with asyncio.timeout(left):  # wait_for of 3.11 can swallow a cancellation
                    await self._wanted.wait()
            except TimeoutError:
                return
            self._wanted.clear()
            while self._signals:
                await self._send(opened, self._signals.pop(0))

    async def _send(self, opened: Session, asked: Signal) -> None:
        pid = asked.target.pid
        try:
            sent = await send(opened, asked.verb, asked.target)
        except RightsMissing:
            message = f"{opened.server.role} may not {asked.verb} pid {pid}: it takes " + (
                "pg_signal_backend, for a superuser's session a superuser"
            )
        except StatementFailed as error:
            message = error.message
        else:
            done = "cancelled" if asked.verb == "cancel" else "terminated"
            message = f"{done} pid {pid}" if sent else f"pid {pid} has gone"
        self._say(message)

    def _say(self, message: str) -> None:
        self.view = replace(self.view, message=message)
        self._changed.set()


def _ago(moment: datetime) -> str:
    return duration((datetime.now(UTC) - moment).total_seconds())
