"""One live server: how to connect to it, what it is, and how our queries reach it."""

from filban.pg.connect import Limits, connection, open_connection
from filban.pg.dsn import Address, Target, parse, redact
from filban.pg.loader import Query
from filban.pg.server import Cap, Extension, Server, Setting
from filban.pg.session import Session, probe, session

__all__ = [
    "Address",
    "Cap",
    "Extension",
    "Limits",
    "Query",
    "Server",
    "Session",
    "Setting",
    "Target",
    "connection",
    "open_connection",
    "parse",
    "probe",
    "redact",
    "session",
]
