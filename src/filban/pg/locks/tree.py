"""Who waits for whom: trees of blockers and those they block. Pure.

pg_blocking_pids names holders of a lock and also the waiters queued ahead, so the waits are a graph
without a single parent: a waiter stands once in a tree, under the blocker farthest from the root,
and its line names the others. A deadlock has no root; the server breaks it after deadlock_timeout,
and a snapshot may show a cycle that never was, so the walk never follows a session twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from filban.pg.locks.rows import LockWait
from filban.units import duration

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


def by_node(waits: Iterable[LockWait]) -> dict[Node, LockWait]:
    """The sessions by their node in the graph."""
    return {_pid(wait.pid): wait for wait in waits}


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
        words.append(state_of(session))
    if session.query:
        words.append(" ".join(session.query.split())[:80])
    return ": ".join(words)


def _also(session: LockWait, node: Node, tree: Tree) -> str:
    """The blockers other than the one it stands under."""
    above = next((n for n, below in tree.children.items() if node in below), None)
    others = [b for b in _blockers(session) if b != above]
    return f" (and behind {', '.join(others)})" if others else ""


def state_of(session: LockWait) -> str:
    state = session.state or session.backend_type or "state not visible to this role"
    if session.transaction_seconds is None:
        return state
    return f"{state}, transaction open for {duration(session.transaction_seconds)}"


def who(
    application: str | None, role: str | None, database: str | None, client: str | None = None
) -> str:
    """`khabar (news_app on news from 10.0.0.7)`, as far as it is known."""
    place = f"{role or '?'} on {database or '?'}" + (f" from {client}" if client else "")
    return f"{application} ({place})" if application else place
