"""Where a lease was acquired: cheap to capture, put into words only when somebody asks."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from types import CodeType, FrameType

import asyncpg

_OURS = (str(Path(__file__).parent), str(Path(asyncpg.__file__).parent))
# One frame costs about 50 ns; eight reach from a repository function to its request handler.
DEPTH = 8
# By file name, whose hash is cached; that of a code object is computed anew at each look-up.
_skipped: dict[str, bool] = {}

# The code and the offset of the instruction in it: the line is looked up when somebody asks.
Place = tuple[CodeType, int]


def capture(frame: FrameType | None, depth: int) -> tuple[Place, ...]:
    """The places of the innermost frames outside of the pool and asyncpg, innermost first."""
    if depth == 1 and frame is not None and _skipped.get(frame.f_code.co_filename) is False:
        return ((frame.f_code, frame.f_lasti),)  # every acquire of a pool without leak_threshold
    places: list[Place] = []
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        skip = _skipped[file] if file in _skipped else _learn(file)
        if not skip:
            places.append((code, frame.f_lasti))
            if len(places) >= depth:
                break
        frame = frame.f_back
    return tuple(places)


def _learn(file: str) -> bool:
    skip = _skipped[file] = file.startswith(_OURS)
    return skip


def described(places: tuple[Place, ...]) -> list[str]:
    """`file:line in function`, innermost first."""
    return [f"{code.co_filename}:{_line(code, at)} in {code.co_qualname}" for code, at in places]


def _line(code: CodeType, at: int) -> int:
    return next(islice(code.co_positions(), at // 2, None))[0] or code.co_firstlineno
