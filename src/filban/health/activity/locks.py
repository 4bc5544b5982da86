"""lock.blocked: one finding a root blocker, with the tree of its waiters. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.health.activity.rows import PreparedTransaction
from filban.health.activity.rules import rollback_prepared
from filban.pg.locks import LockWait, Node, Tree, by_node, drawn, forest, state_of
from filban.units import count, duration


@dataclass(frozen=True, slots=True)
class LockThresholds:
    """Sources: the server itself looks into a wait after deadlock_timeout, 1 s by default;
    critical: pgEdge's alert rule for lock waits, 60 s, by when the usual request timeouts of a
    service (nginx: 60 s) have fired."""

    blocked_warning_seconds: float = 1.0
    blocked_critical_seconds: float = 60.0


def blocked(
    waits: Iterable[LockWait], prepared: Iterable[PreparedTransaction], limits: LockThresholds
) -> Iterator[Finding]:
    """lock.blocked, one a root blocker whose longest waiter waits beyond the threshold."""
    sessions = by_node(waits)
    fixes = {f"prepared {p.gid}": rollback_prepared(p) for p in prepared}
    for tree in forest(sessions):
        waiters = tree.waiters()
        longest = max((sessions[n].waited_seconds or 0.0 for n in waiters), default=0.0)
        if waiters and longest >= limits.blocked_warning_seconds:
            severe = longest >= limits.blocked_critical_seconds
            yield _finding(tree, sessions, fixes, longest, severe)


def _finding(
    tree: Tree,
    sessions: Mapping[Node, LockWait],
    fixes: Mapping[Node, Fix],
    longest: float,
    severe: bool,
) -> Finding:
    waiters = tree.waiters()
    root = sessions.get(tree.root)
    return Finding(
        code="lock.blocked",
        severity=Severity.critical if severe else Severity.warning,
        subject=tree.root,
        title=f"{count(len(waiters), 'session')} blocked by {tree.root}, for up to "
        f"{duration(longest)}",
        why="Ending the session at the root lets the others go on.\n" + drawn(tree, sessions),
        evidence={
            "blocked_sessions": Quantity(len(waiters), "count"),
            "longest_wait": Quantity(round(longest, 1), "seconds"),
            "root": Quantity(tree.root),
            "root_state": Quantity(state_of(root) if root else "prepared transaction"),
        },
        fix=_fix(root) if root else fixes.get(tree.root),
    )


def _fix(root: LockWait) -> Fix:
    return Fix(
        sql=root.end_sql,
        reversible=False,
        caution="The work of its transaction is lost. Where several roots block the same session, "
        "all of them have to end.",
    )
