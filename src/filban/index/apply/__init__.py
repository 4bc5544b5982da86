"""Applying a plan of indexes without blocking anybody, and undoing it.

    plan = read(path)
    async with begun(target, plan, Journal(path), Limits()) as work:
        await work.apply()          # or work.revert()

`plan` (the file), `journal` (what survives a kill), `work` (one step after the other), `build` (one
index), `guard` (disk room and replicas while it builds), `watched` (what became of the statements),
`migrations` (the same as alembic's, Django's or plain SQL).
"""

from filban.index.apply.build import concurrently
from filban.index.apply.journal import Journal
from filban.index.apply.migrations import FORMATS, migration
from filban.index.apply.plan import Plan, Step, Watched, read, write
from filban.index.apply.work import Limits, Work, begun

__all__ = [
    "FORMATS",
    "Journal",
    "Limits",
    "Plan",
    "Step",
    "Watched",
    "Work",
    "begun",
    "concurrently",
    "migration",
    "read",
    "write",
]
