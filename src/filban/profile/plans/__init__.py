"""Plans: read in any format, measured by node, judged by rules, compared, run with care.

parse(text) -> Plan                      JSON, text, YAML, XML; pasted, wrapped, or from a log
"""

from filban.profile.plans.model import Buffers, Jit, Node, Plan, Trigger
from filban.profile.plans.parse import decode, parse, parse_all

__all__ = ["Buffers", "Jit", "Node", "Plan", "Trigger", "decode", "parse", "parse_all"]
