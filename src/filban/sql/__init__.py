"""SQL texts: parse, fingerprint, split, and what a statement may do (libpg_query through postgast).

    fingerprint(sql), normalize(sql), split(sql)    texts
    parse(sql) -> Tree                              nodes as in PostgreSQL's parsenodes.h
    statement_kinds(sql), read_only(sql)            what sort of statements
    session_effects(sql) -> Effects                 what they do to the session, what they use
    body_effects(language, body) -> Effects         the same of a function's body

All but `read_only` raise SqlError for what is not PostgreSQL 18's grammar, or is too deep or long.
"""

from filban.sql.body import JUDGED_LANGUAGES, body_effects
from filban.sql.effects import Effects, Name, session_effects
from filban.sql.kinds import read_only, statement_kinds
from filban.sql.nodes import Node, Tree, parse
from filban.sql.parser import SqlError, fingerprint, normalize, split

__all__ = [
    "JUDGED_LANGUAGES",
    "Effects",
    "Name",
    "Node",
    "SqlError",
    "Tree",
    "body_effects",
    "fingerprint",
    "normalize",
    "parse",
    "read_only",
    "session_effects",
    "split",
    "statement_kinds",
]
