"""What a sweep will run: checked and said before the first statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filban import sql
from filban.errors import NotSupported, UsageError
from filban.pg import Session
from filban.pg.session import fetch
from filban.tune.pool_size import Slots, collect

SIZES = (1, 2, 4, 8, 12, 16, 24, 32)
CONCURRENCY = 64
# Open loops run at these shares of the throughput measured at the chosen size: below the knee, near
# it, and where queues are long (an M/M/c queue's waiting time doubles from 0.8 to 0.9).
RATE_SHARES = (0.5, 0.8, 0.9)
MOST_STEPS = 200
MOST_SECONDS = 900.0
MOST_TASKS = 2000
WARM_UP_SECONDS = 0.3
# Kept free for people and for services that come meanwhile.
SPARE_SLOTS = 3


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """sizes None: SIZES as far as the server's free slots go. seconds: of each step. rounds: of the
    whole sweep, in another order each, and of the open loops; the median counts. rates: of open
    loops, statements a second; None: shares of what was measured. writes: the statements may."""

    statements: tuple[str, ...] = ()
    table: str | None = None
    values_sql: str | None = None
    sizes: tuple[int, ...] | None = None
    concurrency: tuple[int, ...] = (CONCURRENCY,)
    rates: tuple[float, ...] | None = None
    seconds: float = 1.0
    rounds: int = 3
    objective_p95: float | None = None
    writes: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """statements run at random, each with one of `values` at random; said: what a person should
    know before. The steps of the closed loop are sizes x concurrency."""

    statements: tuple[str, ...]
    values: tuple[tuple[object, ...], ...]
    sizes: tuple[int, ...]
    slots: Slots
    said: tuple[str, ...]
    seconds_at_most: float
    about: str = ""
    options: BenchOptions = field(default_factory=BenchOptions)


def read_statements(file: Path) -> tuple[str, ...]:
    """The statements of a file. Raises UsageError."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}", hint="a file with SQL") from error
    found = tuple(sql.split(text))
    if not found:
        raise UsageError(f"{file} has no statement", hint="one or more, with semicolons between")
    return found


async def make_plan(session: Session, options: BenchOptions) -> Plan:
    """Hold the options to the server. Raises UsageError, NotSupported, and what reading raises."""
    _check(options)
    if session.server.pooled:
        raise NotSupported(
            "this is a pooler, not the server: a sweep would measure the pooler's own size",
            hint="name the server behind it; its size is default_pool_size of PgBouncer",
        )
    slots = await collect.slots(session)
    sizes, notes = fitting(options.sizes, slots)
    statements, values, about = await _workload(session, options)
    rates = len(options.rates) if options.rates is not None else len(RATE_SHARES)
    steps = (len(sizes) * len(options.concurrency) + rates) * options.rounds
    seconds = steps * (options.seconds + WARM_UP_SECONDS)
    if steps > MOST_STEPS or seconds > MOST_SECONDS:
        raise UsageError(
            f"this would be {steps} steps of {options.seconds:g} s, {seconds:.0f} s in all",
            hint=f"at most {MOST_STEPS} steps and {MOST_SECONDS:g} s: fewer --sizes, shorter steps",
        )
    said = (
        f"{about}; {'may write' if options.writes else 'read-only sessions'}",
        f"up to {max(sizes)} connections; of {slots.allowed} ({slots.scope}) {slots.free} are free",
        *notes,
        f"{steps} steps of {options.seconds:g} s, about {seconds:.0f} s in all",
    )
    return Plan(statements, values, sizes, slots, said, seconds, about, options)


def fitting(asked: Sequence[int] | None, slots: Slots) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The sizes that the free slots allow, and what was left out. Raises UsageError."""
    most = slots.free - SPARE_SLOTS
    wanted = sorted(set(asked or SIZES))
    if most < 1 or (asked and wanted[-1] > most):
        raise UsageError(
            f"{wanted[-1] if asked else 1} connections would not leave {SPARE_SLOTS} of the "
            f"{slots.free} free ones ({slots.scope}: {slots.used} of {slots.allowed} are used)",
            hint=f"--sizes up to {max(0, most)}, or a higher limit",
        )
    kept = tuple(size for size in wanted if size <= most)
    left = [size for size in wanted if size > most]
    note = f"sizes {', '.join(map(str, left))} are left out: they would not fit"
    return kept, (note,) if left else ()


def _check(options: BenchOptions) -> None:
    sizes = options.sizes or SIZES
    if (
        min(sizes) < 1
        or min(options.concurrency, default=0) < 1
        or options.seconds <= 0
        or options.rounds < 1
    ):
        raise UsageError(
            "sizes, concurrency and seconds are above zero", hint="filban pool bench -h"
        )
    if max(options.concurrency) > MOST_TASKS:
        raise UsageError(
            f"a concurrency of {max(options.concurrency)} measures this process more than the "
            "server",
            hint=f"at most {MOST_TASKS}",
        )
    if options.statements and options.table:
        raise UsageError("--sql and --table are two workloads", hint="give one of them")
    unproven = [text for text in options.statements if not sql.read_only(text)]
    if unproven and not options.writes:
        raise UsageError(
            "this statement may write, or calls what cannot be known to only read: "
            + " ".join(unproven[0].split())[:120],
            hint="--yes runs it as often as the time allows; take a copy of the database",
        )


async def _workload(
    session: Session, options: BenchOptions
) -> tuple[tuple[str, ...], tuple[tuple[object, ...], ...], str]:
    if options.statements:
        values: tuple[tuple[object, ...], ...] = ((),)
        if options.values_sql is not None:
            values = await _values(session, options.values_sql, "--values")
        return options.statements, values, f"{len(options.statements)} statement(s) of yours"
    found = await collect.lookup(session, options.table)
    if found is None:
        raise UsageError(
            f"no table {options.table!r} with a primary key that this role may read"
            if options.table
            else "there is no table with rows and a primary key that this role may read",
            hint="--sql FILE with the statements of the service, or --table schema.name",
        )
    keys = await _values(session, found.keys_sql, found.name)
    return (found.lookup_sql,), keys, f"look-ups by primary key in {found.name}"


async def _values(session: Session, text: str, name: str) -> tuple[tuple[object, ...], ...]:
    if not sql.read_only(text):
        raise UsageError(f"{name} is to read values only", hint="a SELECT")
    found = tuple(tuple(r.values()) for r in await fetch(session.connection, text, name))
    if not found:
        raise UsageError(f"{name} has no rows to ask for", hint="name another table or query")
    return found
