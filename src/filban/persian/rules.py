"""Locale traps -> findings. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from filban.finding import Finding, Fix, Quantity, Severity
from filban.persian.rows import CharacterType, CollationVersion, LocaleProvider
from filban.pg import Server, Target
from filban.units import count

# In Debian and every glibc from 2.35 on, and the builtin provider's own name for it (17 and later).
FALLBACK_CTYPE = "C.UTF-8"


@dataclass(frozen=True, slots=True)
class LocaleThresholds:
    """None: a locale is right or wrong."""


def ctype_c(
    server: Server, seen: CharacterType, provider: LocaleProvider, target: Target
) -> Iterator[Finding]:
    """locale.ctype_c: at most one finding."""
    if seen.lowers_letters and seen.separates_punctuation:
        return
    yield Finding(
        code="locale.ctype_c",
        severity=Severity.warning,
        subject=server.database,
        title="The database's locale knows no letters beyond ASCII",
        why="Text in Persian, or any other than English, is stored right but read wrong: "
        + ", and ".join(_consequences(seen))
        + ".",
        evidence={
            "lc_ctype": Quantity(server.lc_ctype),
            "lowers_letters": Quantity(seen.lowers_letters),
            "separates_punctuation": Quantity(seen.separates_punctuation),
        },
        fix=_recreate(server, provider, target),
    )


def _consequences(seen: CharacterType) -> Iterator[str]:
    if not seen.separates_punctuation:
        yield (
            "pg_trgm sees no letters in it, text search leaves commas and quotation marks on the "
            "words"
        )
    if not seen.lowers_letters:
        yield "lower() and ILIKE do nothing with it"


def encoding_sql_ascii(
    server: Server, provider: LocaleProvider, target: Target
) -> Iterator[Finding]:
    """locale.encoding_sql_ascii: at most one finding."""
    if server.encoding != "SQL_ASCII":
        return
    yield Finding(
        code="locale.encoding_sql_ascii",
        severity=Severity.warning,
        subject=server.database,
        title="The database does not know the encoding of its text",
        why="SQL_ASCII takes any bytes from any client: texts in different encodings mix unseen, "
        "length() counts bytes, and nothing beyond ASCII can be searched or sorted.",
        evidence={"encoding": Quantity(server.encoding)},
        fix=_recreate(
            server,
            provider,
            target,
            "Text that is not in UTF-8 stops the load: then dump with pg_dump's --encoding=LATIN1 "
            "(or whatever it is in). ",
        ),
    )


def _recreate(server: Server, provider: LocaleProvider, target: Target, caution: str = "") -> Fix:
    """Neither can be changed in place: load into a new database, then swap the names."""
    old, new = server.database, f"{server.database}_new"
    kept = f"{server.database}_old"
    copy = target.in_database(new).uri()
    create = [
        "createdb",
        f"--maintenance-db={target.uri()}",
        "--template=template0",
        "--encoding=UTF8",
    ]
    create += [
        f"--lc-collate={server.lc_collate}",
        f"--lc-ctype={provider.ctype or FALLBACK_CTYPE}",
        *_provider_options(provider),
    ]
    create += ["--", new]
    load = ["psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--dbname={copy}"]
    return Fix(
        command=" && ".join(
            (
                shlex.join(create),
                f"{shlex.join(['pg_dump', f'--dbname={target.uri()}'])} | {shlex.join(load)}",
            )
        ),
        caution=f"Stop the services that write first. {caution}The copy is a new database "
        f'"{new}" beside the old one: compare, then rename the old one to "{kept}" and the new one '
        f'to "{old}" (ALTER DATABASE … RENAME TO) while nobody is connected, and run ANALYZE.',
    )


def _provider_options(provider: LocaleProvider) -> list[str]:
    """Sort as before; template0 may have been made with another provider."""
    match provider.provider:
        case "i":
            return ["--locale-provider=icu", f"--icu-locale={provider.provider_locale}"]
        case "b":  # its C knows no letters either
            known = FALLBACK_CTYPE if provider.provider_locale == "C" else provider.provider_locale
            return ["--locale-provider=builtin", f"--builtin-locale={known}"]
        case "c" if provider.template_provider != "c":
            return ["--locale-provider=libc"]
        case _:
            return []


def collation_versions(
    collations: Iterable[CollationVersion], *, standby: bool
) -> Iterator[Finding]:
    """locale.collation_version, one a collation."""
    for c in collations:
        indexes = len(c.reindex_sql)
        yield Finding(
            code="locale.collation_version",
            severity=Severity.critical if indexes else Severity.warning,
            subject=f"{c.kind} {c.name}",
            title=f"The sort order may have changed under {count(indexes, 'index', 'indexes')}",
            why="The library that sorts text has another version than when the indexes were built: "
            "where the order differs, lookups miss rows and unique indexes let duplicates in.",
            evidence={
                "recorded": Quantity(c.recorded),
                "actual": Quantity(c.actual or "unknown"),
                "indexes": Quantity(indexes, "count"),
            },
            fix=_refresh(c, standby=standby),
        )


def _refresh(c: CollationVersion, *, standby: bool) -> Fix:
    if standby:
        return Fix(
            advice="A standby must run the same operating system and ICU release as its primary: "
            "rebuild it there. If the primary reports this as well, fix it on the primary."
        )
    refresh = f"ALTER {c.kind.upper()} {c.quoted} REFRESH "
    refresh += "COLLATION VERSION;" if c.kind == "database" else "VERSION;"
    return Fix(
        sql="\n".join((*c.reindex_sql, refresh)),
        lock="SHARE UPDATE EXCLUSIVE" if _concurrently(c) else "ACCESS EXCLUSIVE",
        reversible=False,
        caution="Not inside a transaction. A unique index that fails to build has let duplicates "
        "in: remove them first. Refresh the version only after every index is rebuilt.",
    )


def _concurrently(c: CollationVersion) -> bool:
    """Whether every index can be rebuilt concurrently."""
    return all(" CONCURRENTLY " in statement for statement in c.reindex_sql)
