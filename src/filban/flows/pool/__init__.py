"""Pool sizes: measured by a sweep (`bench`), judged while a service runs (`advise`)."""

from filban.flows.pool.advise import AdviseOptions, advise, planned
from filban.flows.pool.bench import bench
from filban.flows.pool.plan import BenchOptions
from filban.flows.pool.result import BenchResult

__all__ = ["AdviseOptions", "BenchOptions", "BenchResult", "advise", "bench", "planned"]
