"""`filban demo`: the whole job on a news database of its own. Each part of it is thin and true."""

from filban.flows.demo.keep import stop
from filban.flows.demo.options import DemoOptions
from filban.flows.demo.report import CODES
from filban.flows.demo.run import demo

__all__ = ["CODES", "DemoOptions", "demo", "stop"]
