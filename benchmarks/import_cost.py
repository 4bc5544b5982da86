"""What a service pays for `from filban import create_pool`, beyond asyncpg's own import.

Needs nothing but the virtual environment. Each import runs in a fresh interpreter, interleaved with
its peer, bytecode compiled beforehand; medians over --runs. The house's limit is 60 ms.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from result import finish

CASES = {
    "bare": "pass",
    "asyncpg": "import asyncpg",
    "filban": "import filban",
    "create_pool": "from filban import create_pool",
    "router": "from filban import connect, Router",
}
TIMED = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
FORBIDDEN = ("typer", "rich", "fastapi", "jinja2", "uvicorn", "google.protobuf")


def seconds(statement: str) -> float:
    run = subprocess.run(
        [sys.executable, "-c", TIMED.format(statement)], capture_output=True, text=True, check=True
    )
    return float(run.stdout)


def loaded_by(statement: str) -> list[str]:
    code = f"{statement}\nimport sys\nprint([m for m in {FORBIDDEN!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return list(eval(run.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    samples: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(runs + 1):
        for name, statement in CASES.items():
            samples[name].append(seconds(statement))
    medians = {name: statistics.median(s[1:]) * 1000 for name, s in samples.items()}
    for name, value in medians.items():
        print(f"{CASES[name]:<40} {value:7.1f} ms")
    beyond = medians["create_pool"] - medians["asyncpg"]
    print(f"beyond asyncpg's own: {beyond:.1f} ms (limit 60)")
    finish(
        "import_cost",
        {
            "create_pool_ms": round(medians["create_pool"], 1),
            "beyond_asyncpg_ms": round(beyond, 1),
            "router_beyond_asyncpg_ms": round(medians["router"] - medians["asyncpg"], 1),
            "import_filban_ms": round(medians["filban"], 1),
            "loads_web_cli_or_report_code": loaded_by(CASES["create_pool"]),
        },
        {"asyncpg_ms": round(medians["asyncpg"], 1)},
        runs=runs,
    )


if __name__ == "__main__":
    main()
