"""Advice on indexes: the workload, what may help it, and the reasons not to.

    givens = await counted(session)                    what pg_stat_statements has; or any texts
    workload = await workload_of(session, givens)      statements, weights, examples
    found = await candidates(session, workload)        candidates, refused, remedies
    await why_not(session, workload, "CREATE INDEX …") one's own idea, judged the same way

Nothing but EXPLAIN is run on the server.
"""

from filban.index.advice.found import candidates, why_not
from filban.index.advice.rows import (
    Candidate,
    Found,
    Given,
    IndexSpec,
    Key,
    Refused,
    Remedy,
    Statement,
    Unread,
    Workload,
)
from filban.index.advice.workload import counted, workload_of

__all__ = [
    "Candidate",
    "Found",
    "Given",
    "IndexSpec",
    "Key",
    "Refused",
    "Remedy",
    "Statement",
    "Unread",
    "Workload",
    "candidates",
    "counted",
    "why_not",
    "workload_of",
]
