"""Where a lease was acquired: cheap to capture, put into words only when somebody asks."""

from __future__ import annotations

import sys
from pathlib import Path
from types import CodeType, FrameType

import asyncpg

_OURS = (str(Path(__file__).parent), str(Path(asyncpg.__file__).parent))
# One frame costs about 50 ns; eight reach from a repository function to its request handler.
DEPTH = 8
# By file name, whose hash is cached; that of a code object is computed anew at each look-up.
_skipped: dict[str, bool] = {}

Place = tuple[CodeType, int]


def capture(depth: int) -> tuple[Place, ...]:
    """(code, line) of the innermost frames outside of the pool and asyncpg, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    places: list[Place] = []
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        skip = _skipped.get(file)
        if skip is None:
            skip = _skipped[file] = file.startswith(_OURS)
        if not skip:
            places.append((code, frame.f_lineno))
            if len(places) >= depth:
                break
        frame = frame.f_back
    return tuple(places)


def described(places: tuple[Place, ...]) -> list[str]:
    """`file:line in function`, innermost first."""
    return [f"{code.co_filename}:{line} in {code.co_qualname}" for code, line in places]
