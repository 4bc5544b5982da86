"""EXPLAIN's four formats. Each reader returns the properties that EXPLAIN's JSON would have had.

Text in, `list[dict]` out (one a statement); UsageError for what cannot be read.
"""

from __future__ import annotations

from typing import Any

from filban.errors import UsageError

Properties = dict[str, Any]

# PostgreSQL itself stops at max_stack_depth long before; a plan of a statement with thousands of
# partitions is wide, not deep.
DEEPEST = 300
MOST_NODES = 20_000


def too_many() -> UsageError:
    return UsageError(
        f"the plan has more than {MOST_NODES:,} nodes",
        hint="give the plan of one statement; is the text something else?",
    )


def too_deep() -> UsageError:
    return UsageError(
        f"the plan is nested more than {DEEPEST} levels deep",
        hint="no plan of PostgreSQL is; is the text cut off or damaged?",
    )
