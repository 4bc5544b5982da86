"""Every error that filban raises on purpose, one tree.

    FilbanError                     exit 2   the root; never raised itself
    ├── UsageError                  exit 2   a wrong argument or value
    │   └── ConfigError             exit 2   filban.toml or the environment says something unusable
    ├── ExtraMissing                exit 2   an optional dependency is not installed
    ├── ServerError                 exit 2   about one live server
    │   ├── ConnectError            exit 2   no usable connection (`.reason` says which kind)
    │   ├── ConnectionLost          exit 2   the server went away in the middle
    │   ├── RightsMissing           exit 2   the role may not do this
    │   ├── NotSupported            exit 2   this server cannot do it (version, role, extension)
    │   └── StatementFailed         exit 2   the server refused a statement of ours
    ├── ClusterError                exit 2   about server processes on this machine
    │   ├── BinariesNotFound        exit 2   no PostgreSQL programs of the wanted kind
    │   ├── ProgramFailed           exit 2   initdb, pg_ctl, pg_basebackup … ended with an error
    │   ├── DiskFull                exit 2   no room left where we write
    │   └── ClusterBusy             exit 2   somebody else holds or runs this data directory
    ├── PoolError                   exit 2   inside a service
    │   ├── PoolExhausted           exit 2   no connection within the deadline, or too many waiters
    │   ├── PoolClosed              exit 2   the pool is closing or closed
    │   ├── LeasesHeld              exit 2   closed while connections were still held
    │   ├── NoServer                exit 2   no server of the wanted role could be reached in time
    │   └── CommitUnknown           exit 2   the connection died in COMMIT: it may have been applied
    ├── NotGood                     exit 1   a check, verification or drill has failed
    └── Interrupted                 exit 3   Ctrl-C or SIGTERM; what was started has been cleaned up

The message says what happened and names the thing; `hint` says what a person can do about it.
The exit code of the command line follows from the class. No secret is ever part of either:
whoever formats a DSN into a message uses `filban.pg.dsn.redact`.
"""

from __future__ import annotations

from typing import ClassVar, Literal


class FilbanError(Exception):
    """Root of the tree. `hint` is one or more sentences that a person can act on."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FilbanError):
    """A wrong argument or value."""


class ConfigError(UsageError):
    """filban.toml or the environment says something unusable."""


class ExtraMissing(FilbanError):
    """An optional dependency is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(
            f"this needs the Python package {module!r}, which is not installed",
            hint=f"pip install 'filban[{extra}]'",
        )
        self.module = module
        self.extra = extra


class ServerError(FilbanError):
    """About one live server."""


ConnectReason = Literal[
    "unreachable",  # nobody listens there, no route, timeout, name not found
    "authentication",  # wrong or missing password, no pg_hba.conf line, certificate refused
    "database",  # the database does not exist
    "starting",  # starting up, shutting down, in recovery without hot standby
    "too_many",  # no free connection slot
    "tls",  # TLS asked for and not offered, certificate not verified
    "dsn",  # the DSN itself cannot be understood
    "role",  # reached, but no host has the wanted role (target_session_attrs)
    "other",
]


class ConnectError(ServerError):
    """No usable connection."""

    def __init__(self, message: str, *, reason: ConnectReason, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: ConnectReason = reason


class ConnectionLost(ServerError):
    """The server went away in the middle."""


class RightsMissing(ServerError):
    """The role may not do this."""


class NotSupported(ServerError):
    """This server cannot do it: its version, its role or a missing extension."""


class StatementFailed(ServerError):
    """The server refused a statement of ours; `sqlstate` is its five-character code."""

    def __init__(self, message: str, *, sqlstate: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


class ClusterError(FilbanError):
    """About server processes on this machine."""


class BinariesNotFound(ClusterError):
    """No PostgreSQL programs of the wanted kind."""


class ProgramFailed(ClusterError):
    """A PostgreSQL program ended with an error; `output` is the end of what it printed."""

    def __init__(self, program: str, status: int, output: str, *, hint: str = "") -> None:
        super().__init__(f"{program} ended with status {status}: {_telling(output)}", hint=hint)
        self.program = program
        self.status = status
        self.output = output


def _telling(output: str) -> str:
    """The line that says why: the last error, as what follows it tells of cleaning up."""
    lines = output.strip().splitlines() or ["it printed nothing"]
    errors = [line for line in lines if ": error: " in line or ": fatal: " in line]
    return (errors or lines)[-1]


class DiskFull(ClusterError):
    """No room left where we write."""


class ClusterBusy(ClusterError):
    """Somebody else holds or runs this data directory."""


class PoolError(FilbanError):
    """Inside a service."""


class PoolExhausted(PoolError, TimeoutError):
    """No connection within the deadline, or too many waiters.

    Also a `TimeoutError`, because that is what asyncpg's pool raises and services catch.
    """


class PoolClosed(PoolError):
    """The pool is closing or closed."""


class LeasesHeld(PoolError, TimeoutError):
    """Closed while connections were still held, as asked for by a timeout."""


class NoServer(PoolError):
    """No server of the wanted role could be reached in time."""


class CommitUnknown(PoolError):
    """The connection died in COMMIT: the transaction may or may not have been applied.

    `xid` is the full transaction id (xid8) when it was known, `timeline` the one that it began on;
    `Router.fate` asks the surviving primary what became of it.
    """

    def __init__(
        self,
        message: str,
        *,
        xid: int | None = None,
        timeline: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.xid = xid
        self.timeline = timeline


class NotGood(FilbanError):
    """A check, verification or drill has failed."""

    exit_code: ClassVar[int] = 1


class Interrupted(FilbanError):
    """Ctrl-C or SIGTERM; what was started has been cleaned up."""

    exit_code: ClassVar[int] = 3
