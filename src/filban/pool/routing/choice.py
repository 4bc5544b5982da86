"""Who answers: the primary a write, the best replica that is new enough a read."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence

from filban.errors import NoServer
from filban.pool.routing.balance import pick
from filban.pool.routing.fleet import Fleet, left
from filban.pool.routing.lag import Lag
from filban.pool.routing.node import Node, Waiter
from filban.pool.routing.tokens import Standing, Token

# Reads that a replica cannot answer yet have it asked again after this, not only at its next probe.
RECHECK_SECONDS = 0.02


class Choice:
    """Chooses among the servers of a fleet by what is known of them."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def lag(self, node: Node) -> Lag:
        position = node.position
        if position is None or position.lsn is None or not position.in_recovery:
            return Lag(0, 0.0) if node is self._fleet.primary else Lag(None, None)
        # As of its last answer: by now it has replayed more, and the primary has written more.
        return self._fleet.track.lag(
            position.lsn, node.asked_at if node.usable else time.monotonic()
        )

    def misses_since(self, node: Node) -> float | None:
        """For how many seconds, at most, it may have missed writes. None: not known."""
        if node is self._fleet.primary:
            return 0.0
        position = node.position
        at = None if position is None else self._fleet.track.complete_at(position.lsn or 0)
        return None if at is None else time.monotonic() - at

    async def writable(self, deadline: float, _: Node | None = None) -> Node:
        """The primary, as soon as there is one. Raises NoServer at the deadline."""
        while True:
            self._fleet.ensure_open()
            if self._fleet.primary is not None:
                return self._fleet.primary
            if not left(deadline):
                raise NoServer(
                    "no primary within the deadline: " + self._fleet.state(),
                    hint="is a failover under way? Policy.write_timeout is how long a write waits",
                )
            await self._fleet.change(deadline)

    async def readable(
        self,
        deadline: float,
        avoid: Node | None = None,
        *,
        max_lag: float | None = None,
        token: Token | None = None,
    ) -> Node:
        """The best replica that is new enough, else the primary. Raises NoServer."""
        if token is not None:
            self._fleet.hear(token.system, token.timeline)
        while True:
            self._fleet.ensure_open()
            found = await self._replica(avoid, max_lag, token, deadline) or self._fleet.primary
            if found is not None:
                return found
            if not left(deadline):
                raise NoServer(
                    "no server may answer this read: " + self._fleet.state(),
                    hint="no primary, and no replica is new enough",
                )
            await self._fleet.change(deadline)

    async def _replica(
        self, avoid: Node | None, max_lag: float | None, token: Token | None, deadline: float
    ) -> Node | None:
        replicas = [n for n in self._replicas() if n is not avoid]
        if max_lag is not None:
            replicas = [
                n for n in replicas if (s := self.misses_since(n)) is not None and s <= max_lag
            ]
        if token is not None:
            return await self._fresh(replicas, token, deadline)
        return self._cheapest(replicas)

    async def _fresh(self, replicas: Sequence[Node], token: Token, deadline: float) -> Node | None:
        """One that has replayed the token, at once or after a short wait; None: ask the primary.

        The position is known before the read begins. A check inside the read's own statement would
        come too late: a statement takes its snapshot first, and what is replayed between the
        snapshot and the check passes the check and is missed by the read.
        """
        standings = [
            (n, self._fleet.generations.standing(token, n.position)) for n in replicas if n.position
        ]
        seen = [n for n, standing in standings if standing is Standing.SEEN]
        if seen:
            return self._cheapest(seen)
        behind = [n for n, standing in standings if standing is Standing.BEHIND]
        self._look_again(behind)
        behind = [n for n in behind if self._worth_waiting(n)]
        seconds = min(self._fleet.policy.fresh_wait, left(deadline))
        if not behind or not seconds:
            return None
        done: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        waiter = Waiter(token, 0.0, done)
        with contextlib.ExitStack() as stack:
            for node in behind:
                stack.enter_context(node.expecting(waiter))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await done
        return None

    def _look_again(self, nodes: Sequence[Node]) -> None:
        """Have those asked that were last asked a while ago: a pause may be over by now."""
        for node in nodes:
            if time.monotonic() - node.asked_at > RECHECK_SECONDS:
                node.wake.set()

    def _worth_waiting(self, node: Node) -> bool:
        """Not for a replica that is paused, or was further behind than we would wait."""
        position, lag = node.position, self.lag(node)
        if position is None or position.replay_paused or lag.seconds is None:
            return False
        return lag.seconds <= self._fleet.policy.fresh_wait + self._fleet.policy.probe_interval

    def _replicas(self) -> Iterator[Node]:
        for node in self._fleet.nodes.values():
            if node.usable and node.position is not None and node.position.in_recovery:
                yield node

    def _cheapest(self, nodes: Sequence[Node]) -> Node | None:
        if len(nodes) <= 1:
            return nodes[0] if nodes else None
        now = time.monotonic()
        return nodes[pick([node.load(self.lag(node).seconds, now) for node in nodes])]
