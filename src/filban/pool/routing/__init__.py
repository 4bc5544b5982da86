"""Replicas and failover: which server answers what, and what a client may have missed.

    connect(dsn | patroni=[…]) -> Router
    router.write(), router.read(max_lag=…, after=token), router.execute(sql)

Reading order: tokens (what a write leaves behind), lag, rows (what a probe returns), node (one
server and its pool), watch (its probe), roles (who is what), balance (who answers), router.
"""
