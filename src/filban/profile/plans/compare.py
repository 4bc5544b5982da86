"""Two plans side by side: which node became which."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

from filban.profile.plans.model import Node, Plan


@dataclass(frozen=True, slots=True)
class Pair:
    """A node of each plan; None where the other plan has no counterpart."""

    before: Node | None
    after: Node | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """pairs: in the order of both trees."""

    before: Plan
    after: Plan
    pairs: tuple[Pair, ...]

    @property
    def ratio(self) -> float | None:
        """Time after over time before; None when one was not measured."""
        first, second = self.before.total_ms, self.after.total_ms
        return second / first if first and second is not None else None


def compare(before: Plan, after: Plan) -> Comparison:
    """Line two plans up: by the table where one is scanned, else by the kind of node.

    A table read in another way is the same line, as it is what one wants to see.
    """
    matcher = SequenceMatcher(
        None, [_key(n) for n in before.nodes], [_key(n) for n in after.nodes], autojunk=False
    )
    pairs: list[Pair] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            rows = zip(before.nodes[i1:i2], after.nodes[j1:j2], strict=True)
            pairs += [Pair(a, b) for a, b in rows]
        else:
            pairs += [Pair(node, None) for node in before.nodes[i1:i2]]
            pairs += [Pair(None, node) for node in after.nodes[j1:j2]]
    return Comparison(before, after, tuple(pairs))


def _key(node: Node) -> tuple[str, str]:
    if node.relation:
        return "scan", node.alias or node.relation
    kind = "join" if node.kind.endswith(("Join", "Loop")) else node.kind
    return kind, node.subplan.split(" ")[0]
