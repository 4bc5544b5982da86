"""Connections and sessions (log_connections, log_disconnections), by columns."""

from __future__ import annotations

import polars as pl

from filban.profile.logs.rows import Sessions, Who

_LOST = (
    r"^(?:could not (?:receive data from|send data to) client|unexpected EOF on client connection"
    r"|could not accept SSL connection|incomplete startup packet|incomplete message from client)"
)
WANTED = rf"^(?:connection |disconnection: |replication connection )|{_LOST}"
MOST = 1_000  # names of each sort that are kept apart

_SESSION = (
    r"session time: (?P<h>\d+):(?P<m>\d+):(?P<s>[\d.]+) "
    r"user=(?P<user>.*?) database=(?P<db>.*?) host=(?P<host>\S*)"
)
_AUTHORIZED = (
    r"authorized: user=(?P<user>.*?)(?: database=(?P<db>.*?))?"
    r"(?: application_name=(?P<app>.*?))?(?: SSL enabled.*| GSS .*)?$"
)
_RECEIVED = r"received: host=(\S+)"
_BY = ("user", "db", "app", "host")
_OTHERS = "(others)"


class SessionLog:
    """Adds batches up by user, database, application and host."""

    def __init__(self) -> None:
        self._received = self._authorized = self._ended = self._lost = 0
        self._seconds = 0.0
        self._sums: dict[str, dict[str, list[float]]] = {name: {} for name in _BY}

    def take(self, events: pl.DataFrame) -> None:
        """Events whose message matches WANTED."""
        if events.is_empty():
            return
        message = pl.col("message")
        received = events.filter(message.str.contains("^connection received"))
        authorized = events.filter(message.str.contains("connection authorized: "))
        ended = events.filter(message.str.contains("^disconnection: "))
        self._received += received.height
        self._authorized += authorized.height
        self._ended += ended.height
        self._lost += int(events["message"].str.contains(_LOST).sum())
        self._by_host(received)
        self._by_name(authorized)
        self._by_session(ended)

    def result(self) -> Sessions:
        return Sessions(
            self._received, self._authorized, self._ended, self._lost, round(self._seconds, 3),
            *(self._who(name) for name in _BY),
        )  # fmt: skip

    def _by_host(self, received: pl.DataFrame) -> None:
        hosts = received.select(pl.col("message").str.extract(_RECEIVED).alias("host"))
        for host, count in hosts.drop_nulls().group_by("host").len().sort("host").iter_rows():
            self._add("host", host, 0, connections=count)

    def _by_name(self, authorized: pl.DataFrame) -> None:
        named = _merged(authorized, _AUTHORIZED, ("user", "db", "app"))
        for name in ("user", "db", "app"):
            counts = named.filter(pl.col(name) != "").group_by(name).len().sort(name)
            for value, count in counts.iter_rows():
                self._add(name, value, 0, connections=count)

    def _by_session(self, ended: pl.DataFrame) -> None:
        if ended.is_empty():
            return
        parts = ended["message"].str.extract_groups(_SESSION).struct.unnest()
        seconds = parts.select(
            pl.col("h").cast(pl.Float64, strict=False) * 3600
            + pl.col("m").cast(pl.Float64, strict=False) * 60
            + pl.col("s").cast(pl.Float64, strict=False)
        ).to_series()
        self._seconds += float(seconds.sum() or 0)
        named = _merged(ended, _SESSION, ("user", "db", "host")).with_columns(
            seconds.alias("seconds")
        )
        for name in _BY:
            groups = (
                named.filter(pl.col(name) != "")
                .group_by(name)
                .agg(pl.len(), pl.col("seconds").sum())
            )
            for value, count, total in groups.sort(name).iter_rows():
                self._add(name, value, total, sessions=count)

    def _add(
        self, by: str, name: str, seconds: float, *, connections: int = 0, sessions: int = 0
    ) -> None:
        table = self._sums[by]
        if name not in table and len(table) >= MOST:
            name = _OTHERS
        row = table.setdefault(name, [0, 0, 0.0])
        row[0] += connections
        row[1] += sessions
        row[2] += seconds

    def _who(self, by: str) -> tuple[Who, ...]:
        rows = [
            Who(name, int(connections), int(sessions), round(seconds, 3))
            for name, (connections, sessions, seconds) in self._sums[by].items()
        ]
        return tuple(sorted(rows, key=lambda w: (-w.connections, -w.sessions, w.name)))


def _merged(events: pl.DataFrame, pattern: str, names: tuple[str, ...]) -> pl.DataFrame:
    """What the message says of `names`, else the event's own columns."""
    said = events["message"].str.extract_groups(pattern).struct.unnest()
    own = events.select(_BY).with_columns(pl.col("host").str.replace(r":\d+$|\(\d*\)$", ""))
    return own.with_columns(
        pl.coalesce(pl.when(said[name] != "").then(said[name]), pl.col(name)).alias(name)
        for name in names
    )
