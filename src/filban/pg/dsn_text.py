"""The text forms of a connection string, read as libpq reads them: a URI, keywords, a bare name.

Source: PostgreSQL documentation, 34.1.1 (connection strings) and 34.1.2 (keywords).
"""

from __future__ import annotations

import difflib
from urllib.parse import unquote

from filban.errors import ConnectError

# libpq's keyword -> its environment variable ("" where there is none).
KEYWORDS: dict[str, str] = {
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
UNUSED = {
    "fallback_application_name", "keepalives", "keepalives_idle", "keepalives_interval",
    "keepalives_count", "tcp_user_timeout", "gssencmode", "gssdelegation", "channel_binding",
    "require_auth", "replication", "sslcompression", "sslcrldir", "sslsni", "sslcertmode",
    "requirepeer", "requiressl", "authtype", "tty", "scram_client_key", "scram_server_key",
    "min_protocol_version", "max_protocol_version", "sslkeylogfile", "oauth_issuer",
    "oauth_client_id", "oauth_client_secret", "oauth_scope",
}  # fmt: skip
# What other tools write: SQLAlchemy's and asyncpg's spellings.
ALIASES = {"database": "dbname", "ssl": "sslmode", "username": "user"}


def read(dsn: str) -> dict[str, str]:
    """libpq's keywords and their values. Raises ConnectError(reason="dsn")."""
    dsn = dsn.strip()
    if "\0" in dsn:
        raise bad("the connection string contains a NUL character")
    scheme, colon, rest = dsn.partition("://")
    if colon and scheme.split("+")[0] in {"postgresql", "postgres"}:
        return checked(_read_uri(rest))
    if colon and scheme.replace("+", "").isalnum() and "=" not in scheme:
        raise bad(f"{scheme}:// is not PostgreSQL", "begin the DSN with postgresql://")
    if "=" in dsn:
        return checked(_read_keywords(dsn))
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
            raise bad(f'"{_decoded(key)}" in the query has no value', "write key=value")
        values[_decoded(key)] = _decoded(value)
    return values


def _read_hosts(hosts: str) -> dict[str, str]:
    names, ports = [], []
    for spec in hosts.split(","):
        if spec.startswith("["):
            name, bracket, tail = spec[1:].partition("]")
            if not bracket or (tail and not tail.startswith(":")):
                raise bad(f'"{spec}" is not an IPv6 address in brackets')
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
            raise bad(f'missing "=" after "{key.split(" ")[0]}"', "write key=value key=value …")
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
        raise bad("a quoted value in the connection string has no closing quote")
    return "".join(value), at


def checked(values: dict[str, str]) -> dict[str, str]:
    """The keywords that we use, by libpq's own names. Raises ConnectError for one nobody knows."""
    result: dict[str, str] = {}
    for key, value in values.items():
        name = ALIASES.get(key, key)
        if name in KEYWORDS:
            result[name] = value
        elif name not in UNUSED:
            near = difflib.get_close_matches(name, [*KEYWORDS, *ALIASES], n=1)
            raise bad(
                f'"{key}" is not a connection option',
                f'did you mean "{near[0]}"?'
                if near
                else f"a server setting is given as options=-c {key}=…",
            )
    return result


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise bad("a percent-escape in the connection string is not UTF-8") from error


def bad(message: str, hint: str = "") -> ConnectError:
    """What is wrong with a connection string, and how one is written."""
    return ConnectError(
        message,
        reason="dsn",
        hint=hint or "as psql takes it: postgresql://user@host:5432/database or 'host=… dbname=…'",
    )
