"""`filban pool advise`: whether running pools fit their load, and the server."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filban import pg
from filban.errors import UsageError
from filban.finding import Report, in_order
from filban.flows.progress import Progress, Silent, step
from filban.pool.stats import BUCKETS
from filban.tune.pool_size import (
    Load,
    Planned,
    PoolThresholds,
    PoolUse,
    ServiceUse,
    collect,
    metrics,
    rules,
)

# Looks at pg_stat_activity within the window: enough for a mean, too few to be felt.
SAMPLES = 20
_HTTP_SECONDS = 5.0
_MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class AdviseOptions:
    """metrics: URLs (looked at twice, `seconds` apart) or files. cores: the server's; bench: the
    JSON of `filban pool bench` on it: what it can take."""

    metrics: tuple[str, ...] = ()
    services: tuple[Planned, ...] = ()
    seconds: float = 10.0
    cores: int | None = None
    bench: Path | None = None


def planned(text: str) -> Planned:
    """`web=20x4`: a service, the size of its pool, and how many processes have one each.

    Raises UsageError.
    """
    name, equals, numbers = text.rpartition("=")
    size, _, instances = numbers.replace("×", "x").partition("x")
    try:
        made = Planned(name.strip(), int(size), int(instances or 1))
    except ValueError:
        made = Planned("", 0)
    if not equals or not made.name or made.max_size < 1 or made.instances < 1:
        raise UsageError(
            f"--service {text!r} is not NAME=SIZE or NAME=SIZExPROCESSES",
            hint="as in web=20x4; NAME is the application_name, or the user that it connects as",
        )
    return made


async def advise(
    target: pg.Target,
    options: AdviseOptions,
    *,
    progress: Progress | None = None,
    thresholds: PoolThresholds | None = None,
) -> Report:
    """Findings pool.* with their numbers. Reads only.

    Raises UsageError, ConnectError, ExtraMissing and what reading raises.
    """
    limits = thresholds or PoolThresholds()
    capacity, measured = _capacity(options, limits)
    before = await _looked(options.metrics)
    async with pg.session(target) as session:
        slots = await collect.slots(session)
        with step(progress or Silent(), "watch the server's sessions") as running:
            seen, means = await _sampled(session, options.seconds if options.metrics else 0.0)
            running.summary = f"{means['active']:.1f} statements at once"
    uses = _windows(before, await _looked(options.metrics), options.seconds)
    load = Load(
        samples=int(means["samples"]),
        active=means["active"],
        idle_in_transaction=means["idle_in_transaction"],
        capacity=capacity,
        measured=measured,
        hidden=any(s.hidden for s in seen),
    )
    findings = [
        *rules.pools(uses, load, limits),
        *rules.over_max_connections(options.services, seen, slots),
    ]
    return Report(
        title=f"Pools of {target}",
        findings=in_order(findings),
        facts=_facts(uses, seen, options.services, load, asdict(slots)),
    )


def _capacity(options: AdviseOptions, limits: PoolThresholds) -> tuple[float | None, bool]:
    if options.bench is not None:
        try:
            document = json.loads(options.bench.read_text(encoding="utf-8"))
            return float(document["recommended_size"]), True
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UsageError(
                f"{options.bench} is not what `filban pool bench --json` writes: {error!r}",
                hint="filban pool bench DSN --json > bench.json",
            ) from error
    if options.cores is None:
        return None, False
    return options.cores * limits.pool_active_per_core, False


async def _sampled(
    session: pg.Session, seconds: float
) -> tuple[list[ServiceUse], dict[str, float]]:
    """The sessions now, and the means over SAMPLES looks."""
    looks = SAMPLES if seconds else 1
    active = idle_in_transaction = 0
    seen: list[ServiceUse] = []
    for _ in range(looks):
        seen = await collect.services(session)
        active += sum(s.active for s in seen)
        idle_in_transaction += sum(s.idle_in_transaction for s in seen)
        await asyncio.sleep(seconds / looks)
    return seen, {
        "samples": looks,
        "active": active / looks,
        "idle_in_transaction": idle_in_transaction / looks,
    }


async def _looked(sources: Sequence[str]) -> list[tuple[str, float, list[PoolUse]]]:
    texts = await asyncio.gather(*(asyncio.to_thread(_text, source) for source in sources))
    now = asyncio.get_running_loop().time()
    return [
        (source, now, metrics.parse(text, source=source, bounds=BUCKETS))
        for source, text in zip(sources, texts, strict=True)
    ]


def _text(source: str) -> str:
    try:
        if not source.startswith(("http://", "https://")):
            return Path(source).read_text(encoding="utf-8")
        with urllib.request.urlopen(source, timeout=_HTTP_SECONDS) as answer:  # noqa: S310
            return str(answer.read(_MOST_BYTES).decode("utf-8", "replace"))
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise UsageError(
            f"cannot read {source}: {error}", hint="the service's /metrics, or a file of stats()"
        ) from error


def _windows(
    before: Sequence[tuple[str, float, list[PoolUse]]],
    after: Sequence[tuple[str, float, list[PoolUse]]],
    seconds: float,
) -> list[PoolUse]:
    """What came in between; a file's numbers are since its pool was opened."""
    found: list[PoolUse] = []
    for (source, then, old), (_, now, new) in zip(before, after, strict=True):
        known = {(use.name, use.server): use for use in old}
        for use in new:
            earlier = known.get((use.name, use.server))
            if source.startswith("http") and earlier is not None:
                found.append(use.since(earlier, max(now - then, seconds)))
            else:
                found.append(use)
    return found


def _facts(
    uses: Sequence[PoolUse],
    seen: Sequence[ServiceUse],
    services: Sequence[Planned],
    load: Load,
    slots: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "pools": [_pool_fact(use) for use in uses],
        "services_planned": [asdict(p) | {"connections": p.connections} for p in services],
        "sessions_now": [asdict(s) for s in seen],
        "statements_at_once": round(load.active, 2),
        "capacity": load.capacity,
        "capacity_measured": load.measured,
        "slots": dict(slots),
        "not_visible": [{"what": "what other roles' sessions do", "remedy": "grant pg_monitor"}]
        if load.hidden
        else [],
    }


def _pool_fact(use: PoolUse) -> dict[str, Any]:
    return {
        "name": use.name,
        "server": use.server,
        "max_size": use.max_size,
        "in_use": use.in_use,
        "mean_in_use": None if use.mean_in_use is None else round(use.mean_in_use, 2),
        "needed": None if use.mean_in_use is None else rules.needed(use.mean_in_use),
        "waiting": use.waiting,
        "leases": use.hold.count,
        "timeouts": use.timeouts,
        "wait_p95_seconds": _finite(use.wait.quantile(0.95)),
        "hold_p95_seconds": _finite(use.hold.quantile(0.95)),
        "window_seconds": use.window_seconds,
    }


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: above the last bound it is not known."""
    return None if value is None or value == float("inf") else value
