"""A look as JSON-able facts with stable keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from filban.pg import Server
from filban.pg.locks import Tree, by_node, drawn, forest
from filban.profile.top.rates import Rates
from filban.profile.top.rows import Look
from filban.profile.top.view import View, arranged


def document(server: Server, look: Look, rates: Rates, view: View) -> dict[str, Any]:
    """sessions as on the screen; blocking: a tree a root blocker, most waiters first."""
    known = by_node(look.waits)
    trees = sorted(forest(known), key=lambda tree: -len(tree.waiters()))

    def plain(tree: Tree) -> dict[str, Any]:
        root = known.get(tree.root)
        return {
            "root": tree.root,
            "root_state": None if root is None else root.state,
            "root_query": None if root is None else root.query,
            "waiting": len(tree.waiters()),
            "lines": drawn(tree, known).splitlines(),
        }

    return {
        "at": look.at.isoformat(timespec="milliseconds"),
        "server": server.facts(),
        "connections": look.counters.connections,
        "connections_allowed": look.counters.connections_allowed,
        "per_second": asdict(rates),
        "replay_behind_bytes": look.counters.replay_behind_bytes,
        "replicas": [asdict(replica) for replica in look.replicas],
        "hidden_sessions": sum(session.hidden for session in look.sessions),
        "blocking": [plain(tree) for tree in trees],
        "sessions": [asdict(session) for session in arranged(look.sessions, view)],
    }
