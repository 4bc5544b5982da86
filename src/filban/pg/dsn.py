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
import difflib
import getpass
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote

from filban.errors import ConnectError
from filban.pg import passfile

DEFAULT_PORT = 5432
# Debian's and PostgreSQL's own default socket directories, then what is left when there is neither.
DEFAULT_SOCKET_DIRS = ("/run/postgresql", "/var/run/postgresql", "/tmp")  # noqa: S108

# libpq's keyword -> its environment variable ("" where there is none).
_KEYWORDS: dict[str, str] = {
    "host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "dbname": "PGDATABASE",
    "user": "PGUSER", "password": "PGPASSWORD", "passfile": "PGPASSFILE",
    "service": "PGSERVICE", "servicefile": "PGSERVICEFILE",
    "sslmode": "PGSSLMODE", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT", "sslcrl": "PGSSLCRL", "sslpassword": "",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION", "sslnegotiation": "PGSSLNEGOTIATION",
    "application_name": "PGAPPNAME", "options": "PGOPTIONS",
    "connect_timeout": "PGCONNECT_TIMEOUT", "client_encoding": "PGCLIENTENCODING",
    "target_session_attrs": "PGTARGETSESSIONATTRS", "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "krbsrvname": "PGKRBSRVNAME", "gsslib": "PGGSSLIB",
}  # fmt: skip
# Keywords of libpq that mean nothing to a Python driver: accepted and not used.
_UNUSED = {
    "fallback_application_name", "keepalives", "keepalives_idle", "keepalives_interval",
    "keepalives_count", "tcp_user_timeout", "gssencmode", "gssdelegation", "channel_binding",
    "require_auth", "replication", "sslcompression", "sslcrldir", "sslsni", "sslcertmode",
    "requirepeer", "requiressl", "authtype", "tty", "scram_client_key", "scram_server_key",
    "min_protocol_version", "max_protocol_version", "sslkeylogfile", "oauth_issuer",
    "oauth_client_id", "oauth_client_secret", "oauth_scope",
}  # fmt: skip
# What other tools write: SQLAlchemy's and asyncpg's spellings.
_ALIASES = {"database": "dbname", "ssl": "sslmode", "username": "user"}
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
        """A libpq URI of this target, percent-encoded; without the password unless asked."""
        user = quote(self.user, safe="")
        if with_password and self.password is not None:
            user += ":" + quote(self.password, safe="")
        tcp = ",".join(str(a) for a in self.addresses if not a.is_socket)
        sockets = [a for a in self.addresses if a.is_socket]
        query = dict(self.tls)
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
            **{_KEYWORDS[k]: v for k, v in self.tls.items() if _KEYWORDS.get(k)},
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
    given = _read(dsn or "")
    environ = {k: env[v] for k, v in _KEYWORDS.items() if v and env.get(v)}
    service = given.get("service") or environ.get("service")
    from_service = _service(service, given, env) if service else {}
    merged = {**environ, **from_service, **given}
    return _target(merged)


def conninfo(database: str) -> str:
    """A connection string that names only a database, for `--dbname=` of PostgreSQL's programs.

    A bare name with an equals sign in it they would read as a connection string itself.
    """
    escaped = database.replace("\\", r"\\").replace("'", r"\'")
    return f"dbname='{escaped}'"


def redact(text: str) -> str:
    """A DSN as it may be shown: the password, wherever it stands, is replaced by ***."""
    try:
        target = parse(text, env={})
    except ConnectError:
        return "(a connection string that cannot be parsed)"
    return target.uri()


def _read(dsn: str) -> dict[str, str]:
    dsn = dsn.strip()
    if "\0" in dsn:
        raise _bad("the connection string contains a NUL character")
    scheme, colon, rest = dsn.partition("://")
    if colon and scheme.split("+")[0] in {"postgresql", "postgres"}:
        return _checked(_read_uri(rest))
    if colon and scheme.replace("+", "").isalnum() and "=" not in scheme:
        raise _bad(f"{scheme}:// is not PostgreSQL", "begin the DSN with postgresql://")
    if "=" in dsn:
        return _checked(_read_keywords(dsn))
    return {"dbname": dsn} if dsn else {}


def _read_uri(rest: str) -> dict[str, str]:
    rest, _, query = rest.partition("?")
    netloc, _, path = rest.partition("/")
    auth, at, hosts = netloc.rpartition("@")  # the last @: passwords with a bare @ are common
    values: dict[str, str] = {}
    if at:
        user, colon, password = auth.partition(":")
        if user:
            values["user"] = _decoded(user)
        if colon:
            values["password"] = _decoded(password)
    if hosts:
        values |= _read_hosts(hosts)
    if path:
        values["dbname"] = _decoded(path)
    for pair in query.split("&") if query else []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise _bad(f'"{_decoded(key)}" in the query has no value', "write key=value")
        values[_decoded(key)] = _decoded(value)
    return values


def _read_hosts(hosts: str) -> dict[str, str]:
    names, ports = [], []
    for spec in hosts.split(","):
        if spec.startswith("["):
            name, bracket, tail = spec[1:].partition("]")
            if not bracket or (tail and not tail.startswith(":")):
                raise _bad(f'"{spec}" is not an IPv6 address in brackets')
            port = tail[1:]
        else:
            name, _, port = spec.partition(":")
        names.append(_decoded(name))
        ports.append(port)
    values = {"host": ",".join(names)} if any(names) else {}
    if any(ports):
        values["port"] = ",".join(ports)
    return values


def _read_keywords(text: str) -> dict[str, str]:
    """libpq's `key = 'value'` form: backslash escapes, quotes only where a value has blanks."""
    values: dict[str, str] = {}
    at, end = 0, len(text)
    while at < end:
        equals = text.find("=", at)
        key = text[at:equals].strip() if equals >= 0 else text[at:].strip()
        if equals < 0 or not key or " " in key:
            raise _bad(f'missing "=" after "{key.split(" ")[0]}"', "write key=value key=value …")
        at = equals + 1
        while at < end and text[at].isspace():
            at += 1
        value, at = _read_value(text, at)
        values[key] = value
        while at < end and text[at].isspace():
            at += 1
    return values


def _read_value(text: str, at: int) -> tuple[str, int]:
    quoted = at < len(text) and text[at] == "'"
    at += quoted
    value: list[str] = []
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            at += 1
            char = text[at]
        elif quoted and char == "'":
            return "".join(value), at + 1
        elif not quoted and char.isspace():
            break
        value.append(char)
        at += 1
    if quoted:
        raise _bad("a quoted value in the connection string has no closing quote")
    return "".join(value), at


def _checked(values: dict[str, str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for key, value in values.items():
        name = _ALIASES.get(key, key)
        if name in _KEYWORDS:
            result[name] = value
        elif name not in _UNUSED:
            near = difflib.get_close_matches(name, [*_KEYWORDS, *_ALIASES], n=1)
            raise _bad(
                f'"{key}" is not a connection option',
                f'did you mean "{near[0]}"?'
                if near
                else f"a server setting is given as options=-c {key}=…",
            )
    return result


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
            raise _bad(f"the service file {file} cannot be read: {error}") from error
        if reader.has_section(name):
            return _checked(dict(reader.items(name)))
    tried = ", ".join(str(f) for f in files)
    raise _bad(f'the service "{name}" is not defined', f"looked in {tried}")


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
        raise _bad(f'target_session_attrs "{role}" is unknown', "one of: " + ", ".join(_ROLES))
    timeout = values.get("connect_timeout")
    if timeout and not timeout.strip().lstrip("-").isdigit():
        raise _bad(f'connect_timeout "{timeout}" is not a whole number of seconds')
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
        raise _bad(f"{len(hosts)} hosts but {len(ports)} ports", "give one port, or one for each")
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
        raise _bad(f'the port "{text}" is not a number from 1 to 65535')
    return int(text)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise _bad("no user name given, and this process has none", "add user=…") from error


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise _bad("a percent-escape in the connection string is not UTF-8") from error


def _bad(message: str, hint: str = "") -> ConnectError:
    return ConnectError(
        message,
        reason="dsn",
        hint=hint or "as psql takes it: postgresql://user@host:5432/database or 'host=… dbname=…'",
    )
