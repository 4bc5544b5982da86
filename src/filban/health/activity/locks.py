"""Who waits for whom -> one finding a root blocker, with the tree of its waiters. Pure.

pg_blocking_pids names holders of a lock and also the waiters queued ahead, so the waits are a graph
without a single parent: a waiter stands once in a tree, under the blocker farthest from the root,
and its line names the others. A deadlock has no root; the server breaks it after deadlock_timeout,
and a snapshot may show a cycle that never was, so the walk never follows a session twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.health.activity.rows import LockWait, PreparedTransaction
from filban.health.activity.rules import rollback_prepared, who
from filban.units import count, duration


@dataclass(frozen=True, slots=True)
class LockThresholds:
    """Sources: the server itself looks into a wait after deadlock_timeout, 1 s by default;
    critical: pgEdge's alert rule for lock waits, 60 s, by when the usual request timeouts of a
    service (nginx: 60 s) have fired."""

    blocked_warning_seconds: float = 1.0
    blocked_critical_seconds: float = 60.0


# A node of the graph: "pid 4711", or "prepared GID" for a prepared transaction, which has no pid.
Node = str


@dataclass(frozen=True, slots=True)
class Tree:
    """A root blocker and those it blocks. children: node -> the waiters shown below it."""

    root: Node
    children: Mapping[Node, Sequence[Node]]

    def waiters(self) -> list[Node]:
        """Everybody below the root, in display order, each once."""
        return [node for node, _ in self.walk()][1:]

    def walk(self) -> Iterator[tuple[Node, int]]:
        """(node, depth) from the root down."""
        left: list[tuple[Node, int]] = [(self.root, 0)]
        while left:
            node, depth = left.pop()
            yield node, depth
            left.extend((child, depth + 1) for child in reversed(self.children.get(node, ())))


def blocked(
    waits: Iterable[LockWait], prepared: Iterable[PreparedTransaction], limits: LockThresholds
) -> Iterator[Finding]:
    """lock.blocked, one a root blocker whose longest waiter waits beyond the threshold."""
    sessions = {_pid(w.pid): w for w in waits}
    fixes = {f"prepared {p.gid}": rollback_prepared(p) for p in prepared}
    for tree in forest(sessions):
        waiters = tree.waiters()
        longest = max((sessions[n].waited_seconds or 0.0 for n in waiters), default=0.0)
        if waiters and longest >= limits.blocked_warning_seconds:
            severe = longest >= limits.blocked_critical_seconds
            yield _finding(tree, sessions, fixes, longest, severe)


def forest(sessions: Mapping[Node, LockWait]) -> list[Tree]:
    """One tree a root blocker: a node that blocks and does not wait, then one for each cycle."""
    parents = {node: _blockers(w) for node, w in sessions.items()}
    nodes = {*parents, *(p for ps in parents.values() for p in ps)}
    roots = sorted(n for n in nodes if not parents.get(n))
    trees = [_tree(root, parents) for root in roots]
    reached = {node for tree in trees for node, _ in tree.walk()}
    # what no root reaches waits in a circle: any one of it is as good a root as another
    for node in sorted(nodes - reached, key=lambda n: -(sessions[n].waited_seconds or 0)):
        if node not in reached:
            trees.append(_tree(node, parents))
            reached.update(n for n, _ in trees[-1].walk())
    return trees


def _tree(root: Node, parents: Mapping[Node, Sequence[Node]]) -> Tree:
    """Place each waiter below its blocker that is farthest from the root."""
    depth = {root: 0}
    children: dict[Node, list[Node]] = {}
    for node in _from_root(root, parents):
        above = max((p for p in parents[node] if p in depth), key=lambda p: depth[p])
        depth[node] = depth[above] + 1
        children.setdefault(above, []).append(node)
    return Tree(root, children)


def _from_root(root: Node, parents: Mapping[Node, Sequence[Node]]) -> Iterator[Node]:
    """Everybody that `root` blocks, blockers before those they block; in a cycle, anywhere."""
    waiters: dict[Node, list[Node]] = {}
    for node, blockers in parents.items():
        for blocker in blockers:
            waiters.setdefault(blocker, []).append(node)
    below = _reached(root, waiters)
    missing = {n: sum(p in below for p in parents[n]) for n in parents if n in below - {root}}
    done, seen = [root], {root}
    while done:
        for node in waiters.get(done.pop(0), ()):
            if node in missing:
                missing[node] -= 1
                seen.add(node)
        ready = [n for n in missing if n in seen and missing[n] <= 0]
        if not ready and not done:  # what is left waits in a circle: break it where it was entered
            ready = [n for n in missing if n in seen][:1]
        for node in ready:
            del missing[node]
            done.append(node)
            yield node


def _reached(root: Node, waiters: Mapping[Node, Sequence[Node]]) -> set[Node]:
    seen, left = {root}, [root]
    while left:
        fresh = [n for n in waiters.get(left.pop(), ()) if n not in seen]
        seen.update(fresh)
        left.extend(fresh)
    return seen


def _blockers(wait: LockWait) -> list[Node]:
    return [*map(_pid, wait.blocked_by), *(f"prepared {gid}" for gid in wait.prepared_gids)]


def _pid(pid: int) -> Node:
    return f"pid {pid}"


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
            "root_state": Quantity(_state(root) if root else "prepared transaction"),
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


def drawn(tree: Tree, sessions: Mapping[Node, LockWait]) -> str:
    """The tree as text, one line a session, waiters indented below their blocker."""
    return "\n".join(_line(node, depth, tree, sessions) for node, depth in tree.walk())


def _line(node: Node, depth: int, tree: Tree, sessions: Mapping[Node, LockWait]) -> str:
    branch = "   " * (depth - 1) + "└─ " if depth else ""
    session = sessions.get(node)
    if session is None:
        return f"{branch}{node}: no session holds it"
    words = [f"{branch}{node} {who(session.application, session.role, session.database)}"]
    if session.waited_seconds is not None and depth:
        words.append(
            f"waits {duration(session.waited_seconds)} for {session.lock_mode} "
            f"on {session.lock_on}{_also(session, node, tree)}"
        )
    else:
        words.append(_state(session))
    if session.query:
        words.append(" ".join(session.query.split())[:80])
    return ": ".join(words)


def _also(session: LockWait, node: Node, tree: Tree) -> str:
    """The blockers other than the one it stands under."""
    above = next((n for n, below in tree.children.items() if node in below), None)
    others = [b for b in _blockers(session) if b != above]
    return f" (and behind {', '.join(others)})" if others else ""


def _state(session: LockWait) -> str:
    state = session.state or session.backend_type or "state not visible to this role"
    if session.transaction_seconds is None:
        return state
    return f"{state}, transaction open for {duration(session.transaction_seconds)}"
