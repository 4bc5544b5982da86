"""What was begun and what was done, one JSON line each, on the disk before the deed.

A kill at any instant leaves at most one step that was begun and not ended; the next start reads
that here, looks what the server has of it, and cleans it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filban.errors import UsageError

Event = Literal[
    "building", "built", "found", "dropping", "dropped", "given_up",
    "reverting", "reverted", "counted",
]  # fmt: skip
Done = Literal["built", "dropped", "found"]


@dataclass(slots=True)
class State:
    """What the journal says of one plan on one database. Steps by their number, from 0.

    done: what became of a step; "found" was there before us and is not ours to revert. begun: the
    step that was begun and not ended, with its last line. definitions: of indexes that we dropped.
    counts: "before" and "after" -> the last counters that were noted.
    """

    done: dict[int, Done] = field(default_factory=dict)
    begun: tuple[int, Mapping[str, Any]] | None = None
    definitions: dict[int, str] = field(default_factory=dict)
    counts: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def take(self, line: Mapping[str, Any]) -> None:
        event, step = line["event"], line.get("step", -1)
        if event in ("building", "dropping", "reverting"):
            self.begun = (step, line)
        elif event == "counted":
            self.counts[line["when"]] = line
        else:
            self.begun = None
        if event == "dropping":
            self.definitions[step] = line["definition"]
        if event in ("built", "dropped", "found"):
            self.done[step] = event
        if event == "reverted":
            self.done.pop(step, None)


class Journal:
    """The lines of one plan: PLAN.journal beside it, for as many servers as it is applied to."""

    def __init__(self, plan_path: Path) -> None:
        self.path = plan_path.with_name(plan_path.name + ".journal")

    def state(self, plan_id: str, server: str) -> State:
        """What it says. A last line that a kill has cut in two says nothing. Raises UsageError."""
        state = State()
        for line in self._lines():
            if line.get("plan") == plan_id and line.get("server") == server:
                state.take(line)
        return state

    def note(self, plan_id: str, server: str, event: Event, **more: Any) -> None:
        """Append a line and wait until it is on the disk. Raises UsageError."""
        at = datetime.now(UTC).isoformat()
        line = {"at": at, "plan": plan_id, "server": server, "event": event, **more}
        try:
            with self.path.open("ab") as file:
                lead = b"" if self._ends_whole() else b"\n"
                file.write(lead + json.dumps(line, ensure_ascii=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UsageError(
                f"the journal {self.path} cannot be written: {error.strerror}",
                hint="it stands beside the plan: put the plan where you may write",
            ) from error

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _lines(self) -> list[dict[str, Any]]:
        try:
            texts = self.path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UsageError(f"the journal {self.path} cannot be read: {error.strerror}") from error
        return [line for line in map(_line, texts) if line is not None]


def _line(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "event" in line else None
