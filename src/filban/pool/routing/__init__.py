"""Replicas and failover: which server answers what, and what a client may have missed.

    connect(dsn | patroni=[…]) -> Router
    router.write(), router.read(max_lag=…, after=token), router.execute(sql)

Reading order: tokens (what a write leaves behind), lag, rows (what a probe returns), probing, node
(one server and its pool), watch (looks at it), roles (who is what), balance (who answers), router.
"""

from filban.pool.routing.policy import Policy
from filban.pool.routing.router import Router, ServerState, connect
from filban.pool.routing.session import Session, session
from filban.pool.routing.tokens import Signer, Standing, Token
from filban.pool.routing.topology import Patroni

__all__ = [
    "Patroni",
    "Policy",
    "Router",
    "ServerState",
    "Session",
    "Signer",
    "Standing",
    "Token",
    "connect",
    "session",
]
