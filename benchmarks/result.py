"""The one line that every benchmark ends with, and the machine that it ran on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """What a reader needs to judge the numbers: processor, cores, memory, system, Python."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def finish(
    benchmark: str, metrics: Mapping[str, Any], peers: Mapping[str, Any] | None = None, **extra: Any
) -> None:
    """Print the closing JSON line. Units stand in the names; ratios are ours / the peer's."""
    line = {
        "benchmark": benchmark,
        "metrics": dict(metrics),
        "peers": dict(peers or {}),
        "machine": machine() | extra,
    }
    print(json.dumps(line, ensure_ascii=False))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
