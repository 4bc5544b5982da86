"""How many connections: the scalability law, the choice of a size, and advice for running pools."""

from filban.tune.pool_size.choose import Choice, choose
from filban.tune.pool_size.rows import Planned, PoolUse, Seen, ServiceUse, Slots, Step
from filban.tune.pool_size.rules import CODES, Load, PoolThresholds
from filban.tune.pool_size.usl import Usl, fit

__all__ = [
    "CODES", "Choice", "Load", "Planned", "PoolThresholds", "PoolUse", "Seen", "ServiceUse",
    "Slots", "Step", "Usl", "choose", "fit",
]  # fmt: skip
