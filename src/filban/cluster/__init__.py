"""Server processes on this machine: find binaries, initdb, start, stop, throwaway clusters."""

from __future__ import annotations

from filban.cluster.abandoned import Leftover, clean_leftovers, leftovers
from filban.cluster.binaries import Binaries, find_all, find_binaries
from filban.cluster.cluster import Cluster, ClusterStatus
from filban.cluster.directory import free_port
from filban.cluster.run import CompletedRun, run_program
from filban.cluster.scratch import throwaway

__all__ = [
    "Binaries",
    "Cluster",
    "ClusterStatus",
    "CompletedRun",
    "Leftover",
    "clean_leftovers",
    "find_all",
    "find_binaries",
    "free_port",
    "leftovers",
    "run_program",
    "throwaway",
]
