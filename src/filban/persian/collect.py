"""Reading the locale of one database."""

from __future__ import annotations

from filban.persian import rules
from filban.persian.rows import CharacterType, CollationVersion, LocaleProvider
from filban.pg import Query, Session
from filban.pg.check import Outcome

_PACKAGE = __package__ or ""


async def locale(session: Session, limits: rules.LocaleThresholds) -> Outcome:
    """locale.*"""
    del limits
    server = session.server
    collations = await session.rows(Query(_PACKAGE, "collation_versions"), CollationVersion)
    provider = await session.row(Query(_PACKAGE, "locale_provider"), LocaleProvider)
    seen = (
        [await session.row(Query(_PACKAGE, "ctype"), CharacterType)]
        if server.encoding == "UTF8"
        else []
    )
    return Outcome(
        (
            *(f for s in seen for f in rules.ctype_c(server, s, provider, session.target)),
            *rules.encoding_sql_ascii(server, provider, session.target),
            *rules.collation_versions(collations, standby=server.in_recovery),
        )
    )
