"""All servers together: what is known of them, who is the primary, who may answer a read."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from filban.errors import ConnectError, FilbanError, PoolClosed
from filban.pg.dsn import Address, Target
from filban.pool.routing.lag import PrimaryTrack
from filban.pool.routing.node import Node
from filban.pool.routing.policy import Policy
from filban.pool.routing.roles import Generations, primary_of
from filban.pool.routing.rows import Position
from filban.pool.routing.topology import Topology
from filban.pool.routing.watch import watch


class Fleet:
    """Probed side by side, each by a task of its own. `epoch` grows with each new primary."""

    def __init__(
        self,
        topology: Topology,
        target: Target,
        policy: Policy,
        options: Mapping[str, Any],
    ) -> None:
        self.policy = policy
        self.nodes: dict[Address, Node] = {}
        self.primary: Node | None = None
        self.generations = Generations()
        self.epoch = 0
        self.closed = False
        self._topology = topology
        self._target = target
        self._options = options
        self.track = PrimaryTrack()
        self._tracked: tuple[Node, int | None] | None = None
        self.fork_xids: dict[int, tuple[int, int]] = {}
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    # Life

    async def start(self, timeout: float) -> None:
        """Begin to watch; return when there is a primary, or when all servers have been tried and
        one can answer reads. Raises ConnectError with what became of each."""
        self._arrange(await self._topology.addresses())
        if self._topology.refresh is not None:
            self._tasks["refresh"] = asyncio.create_task(self._refresh(self._topology.refresh))
        deadline = time.monotonic() + timeout
        while self.primary is None and time.monotonic() < deadline and self._untried():
            await self.change(deadline)
        if self.primary is None and not any(node.usable for node in self.nodes.values()):
            raise ConnectError(
                "no server can be used: " + self.state(),
                reason=self._common_reason(),
                hint="see what each of them says",
            )

    async def close(self, timeout: float | None = None) -> None:
        """Raises LeasesHeld after `timeout` seconds."""
        self.closed = True
        self._tell()
        try:
            await asyncio.gather(*(node.close(timeout) for node in self.nodes.values()))
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def terminate(self) -> None:
        """Cut everything at once."""
        self.closed = True
        for task in self._tasks.values():
            task.cancel()
        for node in self.nodes.values():
            node.cut()
        self._tell()

    def _untried(self) -> bool:
        return any(node.position is None and node.failure is None for node in self.nodes.values())

    def _common_reason(self) -> Any:
        reasons = {
            node.failure.reason if isinstance(node.failure, ConnectError) else "other"
            for node in self.nodes.values()
        }
        return reasons.pop() if len(reasons) == 1 else "unreachable"

    def _arrange(self, addresses: Iterable[Address]) -> None:
        """Watch these addresses, and no others."""
        wanted = dict.fromkeys(addresses)  # in their order
        for address in [a for a in wanted if a not in self.nodes]:
            node = Node(address, self._target, self.policy, self, self._options)
            self.nodes[address] = node
            task = asyncio.create_task(watch(node, self), name=f"filban: watch {address}")
            task.add_done_callback(partial(self._watch_ended, node))
            self._tasks[address] = task
        for address in self.nodes.keys() - wanted.keys():
            self._tasks.pop(address).cancel()
            gone = self.nodes.pop(address)
            gone.put_out("no longer a member")
            gone.retire()
            self.elect()

    def _watch_ended(self, node: Node, task: asyncio.Task[None]) -> None:
        """It ends by cancellation, or by a bug: then nothing old is believed about the server."""
        if not task.cancelled() and (error := task.exception()) is not None:
            node.put_out(f"no longer watched: {error!r}")
            self.elect()
            task.get_loop().call_exception_handler(
                {"message": f"filban: the watch on {node} has ended", "exception": error}
            )

    async def _refresh(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            with contextlib.suppress(ConnectError):  # we go on with the members that we know
                self._arrange(await self._topology.addresses())

    # What the watchers and new connections tell

    def admits(self, position: Position) -> bool:
        return self.generations.admits(position)

    def seen(
        self, node: Node, position: Position, asked_at: float, latency: float | None = None
    ) -> None:
        """A server has said where it stands."""
        # An older answer than the newest: a standby that crashed since may have replayed less.
        if asked_at < node.asked_at:
            return
        before = node.position
        if before is not None:
            self._compare(node, before, position)
        node.failure = None
        node.answered(position, asked_at, latency)
        self.hear(position.system, position.timeline)
        if self.admits(position):
            node.let_in()
        else:
            node.put_out(f"of an older generation: timeline {position.timeline}")
        self.elect()
        if node is self.primary and position.lsn is not None:
            self.track.add(asked_at, position.lsn)

    def _compare(self, node: Node, before: Position, after: Position) -> None:
        """A restart, a new role or a new timeline: connections of before are not used again."""
        promoted = before.in_recovery and not after.in_recovery
        if before.started_at != after.started_at or (after.in_recovery and not before.in_recovery):
            node.cut()
        elif promoted or before.timeline != after.timeline:
            node.retire()
        if promoted and before.started_at == after.started_at and after.timeline is not None:
            self.fork_xids[after.timeline] = (before.next_xid, after.next_xid)
            if before.timeline is not None and before.lsn is not None:
                self.generations.kept(before.timeline, before.lsn)

    def hear(self, system: int, timeline: int | None) -> None:
        """This timeline exists: whoever is below it is not to be used any more, as of now."""
        if not self.generations.hear(system, timeline):
            return
        for node in self.nodes.values():
            if node.position is not None and not self.admits(node.position):
                node.put_out(f"of an older generation: timeline {node.position.timeline}")
                node.cut()
                node.wake.set()
        self.elect()

    def lost(self, node: Node, error: FilbanError) -> None:
        """It cannot be reached or does not answer."""
        node.failure = error
        node.unreachable()
        was_usable = node.usable
        node.put_out(str(error))
        if was_usable:
            node.cut()
        self.elect()

    def wants_history(self, timeline: int) -> bool:
        known = {self.generations.exact_for, self.generations.hidden_for}
        return timeline == self.generations.newest and timeline not in known

    def history(self, timeline: int, ends: Mapping[int, int] | None) -> None:
        """The history of the newest timeline; None: this role may not read it."""
        if ends is not None:
            self.generations.history(timeline, ends)
        else:
            self.generations.history_hidden(timeline)

    def elect(self) -> None:
        """Find the primary among those that are usable, and tell whoever waits."""
        usable = [(n, n.position) for n in self.nodes.values() if n.usable and n.position]
        chosen = primary_of(usable, self.generations, self.primary)
        if chosen is not None and chosen.position is not None:
            tracked = (chosen, chosen.position.timeline)
            if tracked != self._tracked:
                self.track, self._tracked = PrimaryTrack(), tracked
                self.epoch += 1
        self.primary = chosen
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def change(self, deadline: float) -> None:
        """Return when anything is new, or at the deadline."""
        news = self._news
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + left(deadline)):
                await news.wait()

    # What others ask

    def ensure_open(self) -> None:
        """Raises PoolClosed."""
        if self.closed:
            raise PoolClosed("the router is closed", hint="open it for as long as the service runs")

    def state(self) -> str:
        """Each server and what is the matter with it, for a person."""
        return "; ".join(f"{n}: {n.out or n.role}" for n in self.nodes.values()) or "no servers"


def left(deadline: float) -> float:
    """Seconds until then, 0 when it has passed."""
    return max(0.0, deadline - time.monotonic())
