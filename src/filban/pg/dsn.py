"""What psql accepts as a connection string, resolved as libpq resolves it.

A URI, the keyword form, or a bare database name; then the service file, then `PG*` variables, then
defaults, in libpq's order of precedence. asyncpg reads only URIs, hands keywords that it does not
know to the server as settings, and ignores `PGSERVICE`: so we resolve everything here and give it
plain arguments.

Source: PostgreSQL documentation, 34.1 (connection strings, keywords), 34.15 (environment),
34.16 (password file), 34.17 (service file).
"""

from __future__ import annotations

import configparser
import getpass
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from filban.errors import ConnectError
from filban.pg import dsn_text, passfile

DEFAULT_PORT = 5432
# Debian's and PostgreSQL's own default socket directories, then what is left when there is neither.
DEFAULT_SOCKET_DIRS = ("/run/postgresql", "/var/run/postgresql", "/tmp")  # noqa: S108

_TLS_KEYWORDS = (
    "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "sslnegotiation",
)  # fmt: skip
_ROLES = {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"}


@dataclass(frozen=True, slots=True)
class Address:
    """One place to connect to: a host name, an IP address, or a Unix socket directory."""

    host: str
    port: int

    @property
    def is_socket(self) -> bool:
        return self.host.startswith(("/", "@"))

    def __str__(self) -> str:
        if self.is_socket:
            return f"{self.host}/.s.PGSQL.{self.port}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """A resolved connection string. Its repr and str never show the password."""

    addresses: tuple[Address, ...]
    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    passfile: str | None = None
    tls: Mapping[str, str] = field(default_factory=dict, repr=False)
    application_name: str | None = None
    options: str | None = None
    connect_timeout: float | None = None
    role: str = "any"
    load_balance: bool = False

    def password_for(self, address: Address) -> str | None:
        """The password given, else the password file's line for this address."""
        if self.password is not None:
            return self.password
        hosts = [address.host]
        if address.host in DEFAULT_SOCKET_DIRS:
            hosts.append("localhost")  # as libpq: a default socket is called localhost there
        return passfile.lookup(self.passfile, hosts, address.port, self.database, self.user)

    def ordered(self) -> tuple[Address, ...]:
        """The addresses in the order in which to try them (`load_balance_hosts=random`)."""
        if not self.load_balance:
            return self.addresses
        return tuple(random.sample(self.addresses, len(self.addresses)))

    def at(self, address: Address) -> Target:
        """The same, for one of its addresses only."""
        return replace(self, addresses=(address,))

    def in_database(self, database: str) -> Target:
        return replace(self, database=database)

    def __str__(self) -> str:
        places = ", ".join(str(a) for a in self.addresses)
        return f'database "{self.database}" on {places} as user "{self.user}"'

    def uri(self, *, with_password: bool = False) -> str:
        """A libpq URI of this target, percent-encoded; without passwords unless asked."""
        user = quote(self.user, safe="")
        if with_password and self.password is not None:
            user += ":" + quote(self.password, safe="")
        tcp = ",".join(str(a) for a in self.addresses if not a.is_socket)
        sockets = [a for a in self.addresses if a.is_socket]
        query = {k: v for k, v in self.tls.items() if with_password or k != "sslpassword"}
        if sockets and not tcp:
            query["host"] = ",".join(a.host for a in sockets)
            query["port"] = ",".join(str(a.port) for a in sockets)
        elif sockets:
            tcp = ",".join(
                f"{quote(a.host, safe='')}:{a.port}" if a.is_socket else str(a)
                for a in self.addresses
            )
        if self.role != "any":
            query["target_session_attrs"] = self.role
        if self.options:
            query["options"] = self.options
        tail = "&".join(f"{k}={quote(v, safe='')}" for k, v in query.items())
        database = quote(self.database, safe="")
        return f"postgresql://{user}@{tcp}/{database}" + (f"?{tail}" if tail else "")

    def libpq_env(self) -> dict[str, str]:
        """Variables that make PostgreSQL's own programs connect here, with nothing in argv."""
        env = {
            "PGHOST": ",".join(a.host for a in self.addresses),
            "PGPORT": ",".join(str(a.port) for a in self.addresses),
            "PGUSER": self.user,
            "PGDATABASE": self.database,
            **{dsn_text.KEYWORDS[k]: v for k, v in self.tls.items() if dsn_text.KEYWORDS.get(k)},
        }
        password = self.password_for(self.addresses[0])
        if password is not None:
            env["PGPASSWORD"] = password
        if self.options:
            env["PGOPTIONS"] = self.options
        return env


def parse(dsn: str | None = None, env: Mapping[str, str] | None = None) -> Target:
    """Resolve `dsn` as psql would. Raises ConnectError(reason="dsn") that names what is wrong."""
    env = os.environ if env is None else env
    given = dsn_text.read(dsn or "")
    environ = {k: env[v] for k, v in dsn_text.KEYWORDS.items() if v and env.get(v)}
    service = given.get("service") or environ.get("service")
    from_service = _service(service, given, env) if service else {}
    merged = {**environ, **from_service, **given}
    return _target(merged)


def redact(text: str) -> str:
    """A DSN as it may be shown: the password, wherever it stands, is replaced by ***."""
    try:
        target = parse(text, env={})
    except ConnectError:
        return "(a connection string that cannot be parsed)"
    return target.uri()


def _service(name: str, given: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    files = _service_files(given, env)
    for file in files:
        reader = configparser.ConfigParser(
            interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#",)
        )
        try:
            with file.open(encoding="utf-8") as lines:
                reader.read_file(lines)
        except FileNotFoundError:
            continue
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            raise dsn_text.bad(f"the service file {file} cannot be read: {error}") from error
        if reader.has_section(name):
            return dsn_text.checked(dict(reader.items(name)))
    tried = ", ".join(str(f) for f in files)
    raise dsn_text.bad(f'the service "{name}" is not defined', f"looked in {tried}")


def _service_files(given: Mapping[str, str], env: Mapping[str, str]) -> list[Path]:
    explicit = given.get("servicefile") or env.get("PGSERVICEFILE")
    home = env.get("HOME") or str(Path.home())
    system = env.get("PGSYSCONFDIR") or "/etc/postgresql-common"
    first = Path(explicit) if explicit else Path(home) / ".pg_service.conf"
    return [first, Path(system) / "pg_service.conf"]


def _target(values: Mapping[str, str]) -> Target:
    user = values.get("user") or _login_name()
    role = values.get("target_session_attrs") or "any"
    if role not in _ROLES:
        names = ", ".join(sorted(_ROLES))
        raise dsn_text.bad(f'target_session_attrs "{role}" is unknown', f"one of: {names}")
    timeout = values.get("connect_timeout")
    if timeout and not timeout.strip().lstrip("-").isdigit():
        raise dsn_text.bad(f'connect_timeout "{timeout}" is not a whole number of seconds')
    return Target(
        addresses=_addresses(values),
        user=user,
        database=values.get("dbname") or user,
        password=values.get("password"),
        passfile=values.get("passfile"),
        tls={k: values[k] for k in _TLS_KEYWORDS if values.get(k)},
        application_name=values.get("application_name"),
        options=values.get("options"),
        # libpq: zero, negative or absent waits for ever; we keep our own default then
        connect_timeout=float(timeout) if timeout and int(timeout) > 0 else None,
        role=role,
        load_balance=values.get("load_balance_hosts") == "random",
    )


def _addresses(values: Mapping[str, str]) -> tuple[Address, ...]:
    host = values.get("hostaddr") or values.get("host")
    hosts = host.split(",") if host else _default_hosts(values.get("port"))
    ports = [p.strip() for p in values["port"].split(",")] if values.get("port") else [""]
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        counted = f"{len(hosts)} hosts but {len(ports)} ports"
        raise dsn_text.bad(counted, "give one port, or one for each")
    return tuple(
        Address(h.strip() or "localhost", _port(p)) for h, p in zip(hosts, ports, strict=True)
    )


def _default_hosts(port: str | None) -> list[str]:
    """The socket directories that have a socket now, else localhost: no host was named."""
    number = _port((port or "").split(",")[0].strip())
    found = [d for d in DEFAULT_SOCKET_DIRS if Path(d, f".s.PGSQL.{number}").exists()]
    return found[:1] or ["localhost"]


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise dsn_text.bad(f'the port "{text}" is not a number from 1 to 65535')
    return int(text)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise dsn_text.bad("no user name given, and this process has none", "add user=…") from error
