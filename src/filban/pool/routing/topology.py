"""Which servers there are: a fixed list, or the members that Patroni knows."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from filban.errors import ConnectError, UsageError
from filban.pg.dsn import Address

# Members of a cluster come and go in minutes; who leads is found by asking the servers themselves.
REFRESH_SECONDS = 5.0
REQUEST_SECONDS = 3.0


class Topology(Protocol):
    """Where addresses come from. `refresh`: after how many seconds to ask again; None: never."""

    @property
    def refresh(self) -> float | None: ...

    async def addresses(self) -> tuple[Address, ...]:
        """Raises ConnectError when nobody can be asked."""
        ...


@dataclass(frozen=True, slots=True)
class Static:
    """The hosts of a connection string."""

    hosts: tuple[Address, ...]
    refresh: float | None = None

    async def addresses(self) -> tuple[Address, ...]:
        return self.hosts


@dataclass(frozen=True, slots=True)
class Patroni:
    """The members that any of these REST APIs names (GET /cluster), the first that answers.

    urls: as "http://10.0.0.1:8008", best those of all members. tls: for https with a private CA.
    """

    urls: Sequence[str]
    tls: ssl.SSLContext | None = None
    refresh: float | None = field(default=REFRESH_SECONDS)

    def __post_init__(self) -> None:
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise UsageError(
                    f'"{url}" is not the URL of a Patroni REST API', hint="as http://10.0.0.1:8008"
                )

    async def addresses(self) -> tuple[Address, ...]:
        asked = [asyncio.create_task(asyncio.to_thread(self._get, url)) for url in self.urls]
        failures = []
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    return members(await answer)
                except (OSError, ValueError) as error:
                    failures.append(str(error))
        finally:
            for task in asked:
                task.cancel()
        raise ConnectError(
            "no Patroni REST API answers: " + "; ".join(failures),
            reason="unreachable",
            hint="see `patronictl list`, and that its port (8008) can be reached from here",
        )

    def _get(self, url: str) -> Any:
        address = f"{url.rstrip('/')}/cluster"
        from urllib.request import urlopen  # 15 ms of imports, for those with Patroni only

        request = urlopen(  # noqa: S310 - the scheme was checked
            address, timeout=REQUEST_SECONDS, context=self.tls if url[4] == "s" else None
        )
        with request as answer:
            return json.load(answer)


def members(cluster: Any) -> tuple[Address, ...]:
    """The addresses in an answer to GET /cluster. Raises ValueError for what is none.

    A member without a port has never started; `nofailover` and `noloadbalance` members count: one
    with the tag noloadbalance is left out, as its owner asks.
    """
    try:
        return tuple(
            Address(member["host"], int(member["port"]))
            for member in cluster["members"]
            if member.get("host")
            and member.get("port")
            and not member.get("tags", {}).get("noloadbalance")
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an answer of Patroni: {error!r}") from error
