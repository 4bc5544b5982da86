"""One server, live: who runs, waits and blocks, and how fast it goes.

look(session) -> Look          everything at one moment
rates(before, after) -> Rates  per second, between two looks
signal(session, verb, target)  pg_cancel_backend or pg_terminate_backend
"""

from filban.profile.top.collect import Verb, look, signal
from filban.profile.top.rates import Rates, rates
from filban.profile.top.rows import Counters, Io, Look, Replica, Running
from filban.profile.top.view import (
    SORTS,
    Quit,
    Request,
    Signal,
    View,
    arranged,
    press,
    selected,
)

__all__ = [
    "SORTS",
    "Counters",
    "Io",
    "Look",
    "Quit",
    "Rates",
    "Replica",
    "Request",
    "Running",
    "Signal",
    "Verb",
    "View",
    "arranged",
    "look",
    "press",
    "rates",
    "selected",
    "signal",
]
