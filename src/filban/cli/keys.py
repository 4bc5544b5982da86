"""The keyboard of a terminal, key by key, without a library: and the terminal back as it was."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import termios
import tty
from collections.abc import Callable, Iterator

_NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down",
    "\x1b[5~": "page up", "\x1b[6~": "page down", "\x1b[H": "home", "\x1b[F": "end",
    "\x1bOH": "home", "\x1bOF": "end", "\x1b[1~": "home", "\x1b[4~": "end",
    "\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace", "\x1b": "escape",
}  # fmt: skip
_CHUNK = 4096


def names(text: str) -> list[str]:
    """The keys of what a terminal sent: names of _NAMES, else the letter. A sequence that is not
    known is no key; one that is cut off counts as escape."""
    keys = []
    while text:
        length = _length(text)
        part, text = text[:length], text[length:]
        name = _NAMES.get(part, part)
        if not name.startswith("\x1b"):
            keys.append(name)
    return keys


def _length(text: str) -> int:
    """Of the first key. A control sequence is ESC [ (or ESC O) up to a letter or ~."""
    if not text.startswith(("\x1b[", "\x1bO")):
        return 1
    end = next((i for i, c in enumerate(text[2:], 2) if c.isalpha() or c == "~"), None)
    return len(text) if end is None else end + 1


@contextlib.contextmanager
def keyboard(descriptor: int, pressed: Callable[[str], None]) -> Iterator[None]:
    """Call `pressed` with each key of the terminal; with "" when it has been closed.

    Ctrl-C stays a signal. Ctrl-Z is off: it would leave the shell with our screen.
    """
    before = termios.tcgetattr(descriptor)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            content = os.read(descriptor, _CHUNK)
        except OSError:  # the other end of a pseudo-terminal was closed
            content = b""
        if not content:
            loop.remove_reader(descriptor)
            pressed("")
        for name in names(decoder.decode(content)):
            pressed(name)

    try:
        tty.setcbreak(descriptor)
        quiet = termios.tcgetattr(descriptor)
        quiet[6][termios.VSUSP] = b"\x00"
        termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
        loop.add_reader(descriptor, read)
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
