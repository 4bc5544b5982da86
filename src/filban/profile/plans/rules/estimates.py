"""Rows estimated against rows measured, at the lowest node where they part."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from filban.finding import Finding, Fix, Quantity, Severity
from filban.profile.plans.expressions import quote, terms
from filban.profile.plans.model import Node, Plan
from filban.profile.plans.rules.common import Known, quoted_table, subject

CODES = ("plan.misestimate", "plan.generic_plan")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """error: estimates off by ten and more change join orders and methods (Leis et al., "How Good
    Are Query Optimizers, Really?", VLDB 2015, section 4: most plans stand a factor of ten).
    rows: below, a wrong estimate costs little whichever plan is taken; filban's own. stale_ratio:
    autovacuum_analyze_scale_factor's default, a tenth of the table changed."""

    error: float = 10.0
    rows: float = 1_000
    stale_ratio: float = 0.10


LIMITS = Thresholds()
# Their rows are cut short from above or are not the planner's to estimate on their own.
_NOT_ESTIMATED = ("Limit", "Hash", "Materialize", "Memoize", "Sort", "BitmapAnd", "BitmapOr",
                  "Gather", "Gather Merge", "ModifyTable", "Bitmap Index Scan")  # fmt: skip


_CONDITIONS = ("Filter", "Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter")
_PARAMETER = re.compile(r"\$\d+\b")


def find(plan: Plan, known: Known) -> Iterator[Finding]:
    """Only origins: a node whose children were estimated right, or that has none."""
    wrong = {node.number for node in plan.nodes if _wrong(plan, node)}
    for node in plan.nodes:
        below_wrong = any(below.number in wrong for below in plan.below(node))
        if node.number in wrong and not below_wrong:
            generic = _parameters(plan, node)
            yield _generic(node, generic) if generic else _finding(plan, node, known)


def misjudged(plan: Plan, node: Node) -> bool:
    """Whether the rows differ by so much, few or many; not where a LIMIT above cut them short."""
    error = node.error
    return (
        error is not None
        and not 1 / LIMITS.error < error < LIMITS.error
        and not _cut_short(plan, node)
    )


def _wrong(plan: Plan, node: Node) -> bool:
    if node.kind in _NOT_ESTIMATED or not misjudged(plan, node):
        return False
    # over all loops (loops count the processes too): an error in each of many loops adds up
    measured, planned = node.total_rows, (node.plan_rows or 0.0) * (node.loops or 0.0)
    return max(measured, planned) >= LIMITS.rows


def _cut_short(plan: Plan, node: Node) -> bool:
    """Fewer rows than estimated say nothing where somebody above stopped asking for more."""
    if (node.error or 1.0) >= 1.0:
        return False
    for above in plan.above(node):
        stops = above.kind in ("Limit", "Merge Join") or above.text_of("Join Type") in (
            "Semi", "Anti",
        )  # fmt: skip
        if stops or node.subplan or "Subplan Name" in above.properties:
            return True
    return False


def _parameters(plan: Plan, node: Node) -> str:
    """$1 … of a prepared statement in the node's conditions: its plan was made without values.

    Before 17 an InitPlan's value is a $0 too, and before 9.1 what a SubPlan takes from its row.
    """
    inside = [node, *plan.above(node)]
    if any(n.subplan.startswith("SubPlan") for n in inside):
        return ""
    made = {p for n in plan.nodes for p in _PARAMETER.findall(n.subplan)}
    used = _PARAMETER.findall(" ".join(node.text_of(key) for key in _CONDITIONS))
    return ", ".join(dict.fromkeys(p for p in used if p not in made))


def _generic(node: Node, parameters: str) -> Finding:
    return Finding(
        code="plan.generic_plan",
        severity=Severity.warning,
        subject=subject(node),
        title=f"A generic plan: {node.plan_rows:,.0f} rows were expected for any {parameters}, "
        f"{node.rows:,.0f} came for this one",
        why="After five executions of a prepared statement the server may keep one plan for all "
        "values, made from averages; these values are not average.",
        evidence=_rows(node),
        fix=Fix(
            sql="SET LOCAL plan_cache_mode = force_custom_plan;",
            caution="Each execution is planned again, with its values. For one statement in a "
            "service: write the rare or frequent value as a constant, or do not prepare it.",
        ),
    )


def _rows(node: Node) -> dict[str, Quantity]:
    return {
        "rows_estimated": Quantity(node.plan_rows or 0, "rows"),
        "rows_measured": Quantity(node.rows or 0, "rows"),
        "loops": Quantity(node.loops or 0, "count"),
    }


def _finding(plan: Plan, node: Node, known: Known) -> Finding:
    error = node.error or 1.0
    times = error if error >= 1 else 1 / error
    cause, fix = _stale(plan, node, known) or _cause(node, known)
    return Finding(
        code="plan.misestimate",
        severity=Severity.warning,
        subject=subject(node),
        title=f"{node.rows:,.0f} rows came where {node.plan_rows:,.0f} were expected "
        f"({times:,.0f} times {'more' if error >= 1 else 'fewer'})",
        why=f"What stands above was chosen for the wrong number of rows. {cause}",
        evidence=_rows(node),
        fix=fix,
    )


def _stale(plan: Plan, node: Node, known: Known) -> tuple[str, Fix] | None:
    """Of the tables that the node reads, those whose statistics are missing or old: before anything
    else is blamed."""
    causes: dict[str, str] = {}
    fix: Fix | None = None
    for read in (node, *plan.below(node)):
        facts = known.table(read) if read.relation else None
        if facts is None or quoted_table(read) in causes:
            continue
        if not facts.analysed:
            causes[quoted_table(read)] = f"{quoted_table(read)} was never analysed."
        elif facts.modified > LIMITS.stale_ratio * max(facts.rows, 1):
            causes[quoted_table(read)] = (
                f"{facts.modified:,} of {facts.rows:,} rows of {quoted_table(read)} changed since "
                "its last ANALYZE."
            )
        else:
            continue
        fix = fix or _analyze(read)
    if fix is None:
        return None
    return " ".join(causes.values()), replace(
        fix, sql="\n".join(f"ANALYZE {table};" for table in causes)
    )


def _cause(node: Node, known: Known) -> tuple[str, Fix]:
    parts = [
        t for key in ("Filter", "Index Cond", "Recheck Cond") for t in terms(node.text_of(key))
    ]
    hidden = next((t for t in parts if t.functions), None)
    if hidden is not None and node.relation:
        return _hidden(node, hidden.functions[0])
    columns = list(dict.fromkeys(t.bare for t in parts if t.bare and t.equality and t.constant))
    if len(columns) > 1 and node.relation and (node.error or 1) > 1:
        return _correlated(node, columns, known)
    if node.kind in ("Aggregate", "Group", "Unique"):
        return _groups(node)
    if node.relation and node.kind.endswith("Scan"):
        return "The table's statistics do not describe these values.", _analyze(node)
    return (
        "The rows below were estimated right: this step's own selectivity is wrong.",
        (
            Fix(
                advice="Values are not spread evenly, or those of the two sides belong together: "
                "no statistics across tables tell that. Filter earlier, or keep what is compared "
                "in one table with CREATE STATISTICS."
            )
        ),
    )


def _analyze(node: Node) -> Fix:
    return Fix(
        sql=f"ANALYZE {quoted_table(node)};",
        lock="SHARE UPDATE EXCLUSIVE",
        caution="If it changes nothing: raise the statistics target of the columns in the "
        "condition (ALTER TABLE … ALTER COLUMN … SET STATISTICS 1000), then again.",
    )


def _hidden(node: Node, function: str) -> tuple[str, Fix]:
    condition = node.text_of("Filter") or node.text_of("Index Cond")
    return (
        f"The planner knows the columns' values, not those of {function}(): it guesses.",
        Fix(
            advice=f"CREATE STATISTICS on the expression that calls {function}() in {condition} "
            "(14 and later; or an index on it), then ANALYZE: both collect its values. Or compare "
            "the column itself."
        ),
    )


def _correlated(node: Node, columns: list[str], known: Known) -> tuple[str, Fix]:
    keys = ", ".join(quote(column) for column in columns)
    table = quoted_table(node)
    facts = known.table(node)
    for name, covered in facts.statistics if facts else ():
        if covered.issuperset(columns):
            return _already(node, name, keys)
    return (
        f"Conditions on {keys} are taken for independent and are not.",
        Fix(
            sql=f"CREATE STATISTICS {_name(node, columns)} (dependencies, mcv) ON {keys} FROM "
            f"{table};\nANALYZE {table};",
            lock="SHARE UPDATE EXCLUSIVE",
        ),
    )


def _already(node: Node, name: str, keys: str) -> tuple[str, Fix]:
    """default_statistics_target is 100; 1000 keeps ten times the combinations (10,000 is most)."""
    return (
        f"{name} is there for {keys}, and these values are not among the combinations it keeps, or "
        "it was not filled yet.",
        Fix(
            sql=f"ALTER STATISTICS {name} SET STATISTICS 1000;\nANALYZE {quoted_table(node)};",
            lock="SHARE UPDATE EXCLUSIVE",
        ),
    )


def _name(node: Node, columns: list[str]) -> str:
    """CREATE STATISTICS needs a name before 16. 63 bytes are an identifier's length."""
    return quote("_".join([node.relation, *columns, "stat"]).encode()[:63].decode(errors="ignore"))


def _groups(node: Node) -> tuple[str, Fix]:
    keys = node.text_of("Group Key")
    return (
        "The number of groups is estimated from each column by itself.",
        Fix(
            advice=f"CREATE STATISTICS (ndistinct) on the columns of the group key ({keys}), if "
            "they are of one table, then ANALYZE."
        ),
    )
