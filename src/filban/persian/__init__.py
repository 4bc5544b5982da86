"""Persian on PostgreSQL: the traps of locale and collation, and the text search configuration."""

from filban.persian import collect
from filban.persian.rules import LocaleThresholds
from filban.pg.check import Check

CHECKS: tuple[Check, ...] = (
    Check(
        "locale",
        ("locale.ctype_c", "locale.encoding_sql_ascii", "locale.collation_version"),
        LocaleThresholds,
        collect.locale,
    ),
)
