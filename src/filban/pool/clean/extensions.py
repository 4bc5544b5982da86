"""Extensions whose compiled functions leave the session as it is.

Read in their sources (contrib of PostgreSQL 14 to 18, pgvector 0.8, PostGIS 3.5). Functions of any
other extension, and compiled functions of one's own, are taken to change the session.
"""

from __future__ import annotations

from filban.pool.clean.rows import Function

# Nothing in them keeps state for a later statement, whatever volatility they declare.
_HARMLESS = frozenset(
    {
        "btree_gin", "btree_gist", "citext", "cube", "dict_int", "dict_xsyn", "earthdistance",
        "fuzzystrmatch", "hstore", "intagg", "intarray", "ltree", "pg_trgm", "pgcrypto", "seg",
        "tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp",
    }
)  # fmt: skip
# What they declare immutable or stable is; the rest may do anything.
_TRUE_TO_THEIR_WORD = frozenset({"postgis", "vector"})
# pg_trgm: it is a SET of pg_trgm.similarity_threshold.
_EXCEPT = frozenset({"set_limit"})


def is_harmless(function: Function) -> bool:
    if function.language not in {"c", "internal"} or function.name in _EXCEPT:
        return False
    if function.extension in _TRUE_TO_THEIR_WORD:
        return function.volatility in {"i", "s"}
    return function.extension in _HARMLESS
