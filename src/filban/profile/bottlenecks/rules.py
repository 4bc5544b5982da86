"""Interval -> verdict and findings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from filban.finding import Finding
from filban.profile.bottlenecks import executing, locking, outside, waiting
from filban.profile.bottlenecks.interval import Interval
from filban.profile.bottlenecks.load import margin
from filban.profile.bottlenecks.parts import LOCKS, NAMES, ON_CPU, Part, parts
from filban.profile.bottlenecks.words import LEAST_SHARE, Held

# Half of the time nobody at all is at work or waits: what is left holds no workload back, and too
# few samples have seen it (filban's own; ADDM gives no advice on an idle database either).
LEAST_SESSIONS = 0.5
# As many sessions run or queue for a processor all the time. More than LEAST_SESSIONS, because a
# machine that others fill makes even a light load queue.
CROWDED_SESSIONS = 1.0
# "The three things to do first".
FIRST_THINGS = 3
# Below this number of samples a share is known to a quarter only.
ENOUGH_SAMPLES = 15

State = Literal["bottleneck", "healthy", "idle", "unknown"]
_IDLE_SESSIONS = 0.01  # less than one sample in a hundred has seen anybody at work

_Rule = Callable[[Interval, Held], Iterator[Finding]]
_RULES: Mapping[str, _Rule] = {
    "cpu": executing.cpu,
    "seq_scan": executing.seq_scan,
    "planning": executing.planning,
    "jit": executing.jit,
    "vacuum": executing.vacuum,
    "temp": executing.temp,
    "io": waiting.io,
    "wal": waiting.wal,
    "checkpoints": waiting.checkpoints,
    **dict.fromkeys(LOCKS, locking.queue),
    "deadlock": locking.deadlock,
    "idle_in_transaction": locking.idle_in_transaction,
    "lwlock": waiting.lwlock,
    "sync_replication": outside.sync_replication,
    "client": outside.client,
    "connections": outside.connections,
    "replay_conflict": outside.replay_conflict,
    "other": waiting.other,
}
CODES: tuple[str, ...] = tuple(sorted(f"bottleneck.{name}" for name in _RULES))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which part holds the workload back.

    bottleneck: a key of NAMES, None unless `state` is "bottleneck". share: 0..1 of session time;
    margin: half of its 95 % interval; sessions: average sessions in it. runner_up: the part that
    could as well be first, as the two intervals overlap.
    """

    state: State
    bottleneck: str | None
    sentence: str
    share: float = 0.0
    margin: float = 0.0
    sessions: float = 0.0
    runner_up: str | None = None


def judge(interval: Interval) -> tuple[Verdict, tuple[Finding, ...], list[Held]]:
    """The verdict, the first things to do (at most three), and all parts with their shares."""
    divided = _held(parts(interval))
    # a queue for connections behind stuck sessions is what these cause: then it comes second
    stuck = bool(divided) and _matters(interval, divided[0].part)
    if outside.full(interval) and not stuck:
        held = Held(Part("connections", float(interval.connections.used)), 1.0)
        first = tuple(_RULES["connections"](interval, held))
        return _full(interval), first, divided
    if not stuck:
        return _no_bottleneck(interval, divided), (), divided
    return _leading(interval, divided), first_things(interval, divided), divided


def _matters(interval: Interval, part: Part) -> bool:
    """Whether the largest part holds half a session or more. A backend that has a statement and
    no processor yet still looks idle: on a machine that is full, the server's and the kernel's own
    accounts are truer."""
    if part.sessions >= LEAST_SESSIONS:
        return True
    if part.name not in ON_CPU:
        return False
    if interval.database.active_ms / 1000 / interval.seconds >= LEAST_SESSIONS:
        return True
    machine = interval.machine
    if machine is None:
        return False
    crowded = machine.executing + machine.queueing >= CROWDED_SESSIONS
    return crowded or machine.executing >= LEAST_SESSIONS


def _held(found: list[Part]) -> list[Held]:
    whole = sum(part.sessions for part in found)
    return [Held(part, part.sessions / whole) for part in found]


def first_things(interval: Interval, divided: list[Held]) -> tuple[Finding, ...]:
    """The first finding of each part that matters, then what else the largest one has to say."""
    streams = [
        _RULES[held.part.name](interval, held) for held in divided if held.share >= LEAST_SHARE
    ]
    chosen = [finding for stream in streams for finding in islice(stream, 1)]
    if outside.full(interval) and not any(f.code == "bottleneck.connections" for f in chosen):
        held = Held(Part("connections", float(interval.connections.used)), 0.0)
        chosen[1:1] = _RULES["connections"](interval, held)
    rest = (finding for stream in streams for finding in stream)
    return tuple([*chosen, *islice(rest, FIRST_THINGS)][:FIRST_THINGS])


def _leading(interval: Interval, divided: list[Held]) -> Verdict:
    first = divided[0]
    samples = interval.load.samples
    error = margin(first.share, samples)
    second = divided[1] if len(divided) > 1 else None
    close = second is not None and first.share - error < second.share + margin(
        second.share, samples
    )
    runner_up = second.part.name if second is not None and close else None
    room = first.part.name == "cpu" and executing.saturated(interval) is False
    words = (
        f"{_upper(NAMES[first.part.name])} holds the workload back: {100 * first.share:.0f} % "
        f"of session time, {first.part.sessions:.1f} sessions at a time."
        if not room
        else f"Sessions do nothing but {NAMES['cpu']} ({100 * first.share:.0f} % of their time), "
        "and the processors have room: only statements that do less become faster."
    )
    if interval.connections.hidden:
        words += " That is of what this role may see: other roles' sessions are hidden."
    if runner_up is not None:
        words += f" {_upper(NAMES[runner_up])} may be as much: watch for longer."
    return Verdict(
        "bottleneck",
        first.part.name,
        words,
        first.share,
        error,
        first.part.sessions,
        runner_up,
    )


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]


def _full(interval: Interval) -> Verdict:
    taken = interval.connections
    return Verdict(
        "bottleneck",
        "connections",
        f"{taken.words} connections are taken, mostly by clients that do nothing: others are "
        "refused.",
        1.0,
        0.0,
        float(taken.used),
    )


def _no_bottleneck(interval: Interval, divided: list[Held]) -> Verdict:
    busy = sum(held.part.sessions for held in divided)
    if interval.load.samples < ENOUGH_SAMPLES:
        return Verdict("unknown", None, "Too few samples to tell: watch for longer.")
    if interval.connections.hidden:
        return Verdict(
            "unknown",
            None,
            "Nothing holds back what this role may see; what other roles' sessions do is hidden.",
            sessions=busy,
        )
    if busy < _IDLE_SESSIONS:
        return Verdict("idle", None, "No look found anybody at work: nothing is held back.")
    return Verdict(
        "healthy",
        None,
        f"Nothing holds the workload back: {busy:.2f} sessions are at work or wait at a time.",
        sessions=busy,
    )
