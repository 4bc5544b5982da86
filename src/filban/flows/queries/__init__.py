"""`filban queries`: a snapshot, what happened since, what became slower, what the logs add."""

from filban.flows.queries.result import Queries
from filban.flows.queries.run import run_queries
from filban.flows.queries.window import Window

__all__ = ["Queries", "Window", "run_queries"]
