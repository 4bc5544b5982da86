"""Plans: read in any format, measured by node, judged by rules, compared, run with care.

parse(text) -> Plan             JSON, text, YAML, XML; pasted, wrapped, or from a log
judge(plan) -> findings         what is wrong with it, with the fix
explain(sql, dsn)               from a server; ANALYZE in a transaction that is rolled back
compare(before, after)          two plans lined up
"""

from filban.profile.plans.compare import Comparison, Pair, compare
from filban.profile.plans.model import Buffers, Jit, Node, Plan, Trigger
from filban.profile.plans.parse import decode, parse, parse_all
from filban.profile.plans.rules import CODES, NOTHING_KNOWN, Known, judge, misjudged
from filban.profile.plans.run import explain, require_explainable

__all__ = [
    "CODES",
    "NOTHING_KNOWN",
    "Buffers",
    "Comparison",
    "Jit",
    "Known",
    "Node",
    "Pair",
    "Plan",
    "Trigger",
    "compare",
    "decode",
    "explain",
    "judge",
    "misjudged",
    "parse",
    "parse_all",
    "require_explainable",
]
