"""What a task holds while it has a connection: asyncpg's connection, with every statement noted.

A lease stands in for asyncpg's PoolConnectionProxy, is one to `isinstance`, and like it turns every
call into an error once it has been released. It notes the text of each statement, from which the
pool knows at release whether the session has to be reset; what it cannot note (listeners, names
that only the user's own connection class has, the raw connection) makes the session dirty.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg import pool as _asyncpg_pool
from asyncpg.compat import markcoroutinefunction
from asyncpg.utils import _quote_ident

from filban.pool import straight

if TYPE_CHECKING:
    from filban.pool.holder import Holder

_STATEMENTS = frozenset(
    {"execute", "executemany", "fetch", "fetchval", "fetchrow", "fetchmany", "prepare", "cursor"}
)
_COPY = frozenset(
    {
        "copy_from_table", "copy_from_query", "copy_to_table", "copy_records_to_table",
    }
)  # fmt: skip
# They hand the connection itself to callbacks, which must see the lease they were made on.
_LISTENERS = frozenset({"add_listener", "remove_listener"})
_CALLBACKS = frozenset(
    {
        "add_log_listener", "remove_log_listener", "add_termination_listener",
        "remove_termination_listener", "add_query_logger", "remove_query_logger", "query_logger",
    }
)  # fmt: skip


def _released(name: str) -> asyncpg.InterfaceError:
    return asyncpg.InterfaceError(
        f"cannot call Connection.{name}(): connection has been released back to the pool"
    )


def _wrap(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of the connection's own class, with its statement noted."""
    waits = inspect.iscoroutinefunction(method)

    def end(lease: Lease, result: Any) -> Any:
        if not waits:
            return result
        result = straight.told(lease._c, result)
        return result if lease._holder.clock is None else lease._holder.timed(result)

    if name in _STATEMENTS:

        def call(self: Lease, query: Any, *args: Any, **kwargs: Any) -> Any:
            con = self._c
            if con is None:
                raise _released(name)
            self._holder.note(query)
            return end(self, getattr(con, name)(query, *args, **kwargs))

    elif name in _COPY:

        def call(self: Lease, query: Any, *args: Any, **kwargs: Any) -> Any:
            con = self._c
            if con is None:
                raise _released(name)
            self._note_copy(name, query, kwargs)
            return end(self, getattr(con, name)(query, *args, **kwargs))

    else:

        def call(self: Lease, *args: Any, **kwargs: Any) -> Any:  # type: ignore[misc]
            con = self._c
            if con is None:
                raise _released(name)
            if name in _CALLBACKS or name in _LISTENERS:
                self._holder.pin(self, dirty=name in _LISTENERS)
            return getattr(con, name)(*args, **kwargs)

    if waits:
        markcoroutinefunction(call)
    return functools.update_wrapper(call, method)


class _LeaseMeta(_asyncpg_pool.PoolConnectionProxyMeta):
    """Makes a wrapper for each public method of asyncpg's Connection."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        for attribute in dir(asyncpg.Connection):
            method = getattr(asyncpg.Connection, attribute)
            if attribute.startswith("_") or attribute in namespace:
                continue
            if inspect.isfunction(method):
                namespace[attribute] = _wrap(attribute, method)
        return super().__new__(mcs, name, bases, namespace)


class Lease(_asyncpg_pool.PoolConnectionProxy, metaclass=_LeaseMeta):
    """A connection on loan from the pool."""

    __slots__ = ("__weakref__", "_c")

    _c: Any  # the raw connection, None once released
    _holder: Holder

    def __init__(self, holder: Holder, con: Any) -> None:
        self._c = con
        self._holder = holder

    @property
    def _con(self) -> Any:
        """The raw connection, as asyncpg names it: what is done to it is out of our sight."""
        if self._c is not None:
            self._holder.dirty = True
        return self._c

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if self._c is None:
            raise _released(attribute)
        self._holder.dirty = True
        return getattr(self._c, attribute)

    # The four that a service calls all the time, written out: each saves a look-up a call, and goes
    # straight to the protocol where it can.

    def fetchrow(self, query: str, *args: Any, **kwargs: Any) -> Any:
        con = self._c
        if con is None:
            raise _released("fetchrow")
        holder = self._holder
        if holder.text is not query:
            holder.note(query)
        if holder.plain and not kwargs:
            call = straight.fetchrow(con, query, args)
        else:
            call = straight.told(con, con.fetchrow(query, *args, **kwargs))
        return call if holder.clock is None else holder.timed(call)

    def fetch(self, query: str, *args: Any, **kwargs: Any) -> Any:
        con = self._c
        if con is None:
            raise _released("fetch")
        holder = self._holder
        if holder.text is not query:
            holder.note(query)
        if holder.plain and not kwargs:
            call = straight.fetch(con, query, args)
        else:
            call = straight.told(con, con.fetch(query, *args, **kwargs))
        return call if holder.clock is None else holder.timed(call)

    def fetchval(self, query: str, *args: Any, **kwargs: Any) -> Any:
        con = self._c
        if con is None:
            raise _released("fetchval")
        holder = self._holder
        if holder.text is not query:
            holder.note(query)
        if holder.plain and not kwargs:
            call = straight.fetchval(con, query, args)
        else:
            call = straight.told(con, con.fetchval(query, *args, **kwargs))
        return call if holder.clock is None else holder.timed(call)

    def execute(self, query: str, *args: Any, **kwargs: Any) -> Any:
        con = self._c
        if con is None:
            raise _released("execute")
        holder = self._holder
        if holder.text is not query:
            holder.note(query)
        call = straight.told(con, con.execute(query, *args, **kwargs))
        return call if holder.clock is None else holder.timed(call)

    def _detach(self) -> Any:
        con, self._c = self._c, None
        return con

    def _note_copy(self, name: str, what: Any, kwargs: dict[str, Any]) -> None:
        if name == "copy_from_query":
            self._holder.note(what)
            return
        schema = kwargs.get("schema_name")
        table = _quote_ident(str(what))
        if schema is not None:
            table = f"{_quote_ident(str(schema))}.{table}"
        if kwargs.get("where"):
            self._holder.dirty = True
        self._holder.note(
            f"COPY {table} {'TO STDOUT' if name == 'copy_to_table' else 'FROM STDIN'}"
        )

    def __repr__(self) -> str:
        state = "[released]" if self._c is None else repr(self._c)
        return f"<{type(self).__name__} {state} {id(self):#x}>"


for _name in ("fetchrow", "fetch", "fetchval", "execute"):
    markcoroutinefunction(
        functools.update_wrapper(getattr(Lease, _name), getattr(asyncpg.Connection, _name))
    )
