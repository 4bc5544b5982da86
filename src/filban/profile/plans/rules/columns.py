"""Which index a condition could use, and what keeps one from being used.

Not a rule by itself: `scans` asks it once it is known that rows are read to be thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from filban.finding import Finding, Fix, Quantity
from filban.profile.plans.expressions import Term, collated, quote, terms
from filban.profile.plans.model import Node, Plan
from filban.profile.plans.rules.common import Known, quoted_table, severity, subject

# text over varchar and name is only a relabelling: the index serves the column as it is.
_TEXTS = ("text", "varchar", "bpchar")
_RELABELLED = (*_TEXTS, "oid")
_LIKE = ("~~", "~~*", "~", "~*")


def conditions(node: Node, known: Known, *properties: str) -> tuple[Term, ...]:
    """The terms of these properties, with only those casts that keep an index on the column from
    being used: where its type is not known, text over it is taken for a relabelling."""
    facts = known.table(node)
    texts = None if facts is None else facts.texts

    def hiding(term: Term, kind: str) -> bool:
        if kind in _TEXTS and texts is not None:
            return term.bare not in texts
        return kind not in _RELABELLED

    parts = (term for name in properties for term in terms(node.text_of(name)))
    return tuple(replace(t, casts=tuple(k for k in t.casts if hiding(t, k))) for t in parts)


def key(parts: tuple[Term, ...]) -> list[str]:
    """Columns for an index, of `conditions`: those compared for equality first, then one compared
    by a range."""
    usable = [t for t in parts if t.indexable and not t.casts and not t.collations]
    equal = [t.bare for t in usable if t.equality]
    ranged = [t.bare for t in usable if not t.equality and t.bare not in equal]
    return list(dict.fromkeys([*equal, *ranged[:1]]))


def candidate(node: Node, columns: list[str]) -> Fix:
    keys = ", ".join(quote(column) for column in columns)
    return _create(node, f"({keys})")


def _create(node: Node, keys: str, before: str = "") -> Fix:
    return Fix(
        sql=f"{before}CREATE INDEX CONCURRENTLY ON {quoted_table(node)} {keys};",
        lock="SHARE UPDATE EXCLUSIVE",
        caution="A candidate, not proven: look first whether an index begins with these columns "
        "already. Every write will have to keep it up.",
    )


def obstacle(
    plan: Plan, node: Node, known: Known, removed: float, evidence: Mapping[str, Quantity]
) -> Finding | None:
    """What keeps an index on a column of the filter from being used; None if nothing does."""
    parts = conditions(node, known, "Filter")
    told = collated(known.sql)
    for term in parts:
        collation = (term.collations or (told.get(term.bare, ""),))[0]
        if term.bare and term.constant and collation:
            return _collation(plan, node, term, collation, evidence)
    if key(parts):
        return None
    for term in parts:
        if (not term.bare and term.functions) or (term.bare and term.casts):
            return _hidden(plan, node, term, removed, evidence)
        if term.operator == "~~" and term.bare and _prefix(term.pattern):
            return _pattern(plan, node, term, evidence)
    return None


def without_key(node: Node) -> Fix:
    """For a filter that no plain index serves."""
    for term in terms(node.text_of("Filter")):
        if term.bare and term.operator in _LIKE and term.pattern:
            return _create(
                node, f"USING gin ({quote(term.bare)} gin_trgm_ops)",
                "CREATE EXTENSION IF NOT EXISTS pg_trgm;\n",
            )  # fmt: skip
    return Fix(
        advice="No column is compared alone with a constant, so no plain index serves this "
        "condition; rewrite it so that one is."
    )


def _prefix(pattern: str) -> str:
    """What stands before a LIKE pattern's first wildcard."""
    return pattern.split("%")[0].split("_")[0].split("\\")[0]


def _collation(
    plan: Plan, node: Node, term: Term, collation: str, evidence: Mapping[str, Quantity]
) -> Finding:
    return Finding(
        code="plan.collation",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f'The collation "{collation}" keeps an index on {term.bare} from being used',
        why=f"An index is sorted by its own collation and serves no other: {node.text_of('Filter')}"
        " is tested on every row.",
        evidence=evidence,
        fix=Fix(
            sql=f"CREATE INDEX CONCURRENTLY ON {quoted_table(node)} "
            f"({quote(term.bare)} COLLATE {quote(collation)});",
            lock="SHARE UPDATE EXCLUSIVE",
            caution="Better leave COLLATE out of the condition if the column's own collation will "
            "do: its index is used then, and no second one has to be kept up.",
        ),
    )


def _pattern(plan: Plan, node: Node, term: Term, evidence: Mapping[str, Quantity]) -> Finding:
    return Finding(
        code="plan.collation",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"No index serves {term.bare} LIKE '{term.pattern}'",
        why="A plain index serves the beginning of a text only under the collation C: by other "
        "languages' rules, texts that begin alike need not stand together.",
        evidence=evidence,
        fix=_create(node, f"({quote(term.bare)} text_pattern_ops)"),
    )


def _hidden(
    plan: Plan, node: Node, term: Term, removed: float, evidence: Mapping[str, Quantity]
) -> Finding:
    what = f"the function {term.functions[0]}()" if term.functions else f"a cast to {term.casts[0]}"
    columns = ", ".join(term.columns)
    return Finding(
        code="plan.hidden_column",
        severity=severity(plan, node.exclusive_ms),
        subject=subject(node),
        title=f"{what} around {columns} keeps an index on it from being used",
        why=f"{removed:,.0f} rows are read and thrown away by {node.text_of('Filter')}. An index "
        "on the column knows nothing of the expression's values.",
        evidence=evidence,
        fix=Fix(
            advice="Compare the column itself (a range instead of a function of it, a parameter of "
            "the column's own type), or make an index on the whole expression, which has to be "
            "immutable."
        ),
    )
