"""A plan as a migration: for alembic, for Django, or as plain SQL. Pure.

For who changes the schema only through migrations. Each index is built outside of a transaction,
as CONCURRENTLY needs it, and each file has its way back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from filban.errors import UsageError
from filban.index.apply.plan import Plan, Step


def migration(plan: Plan, kind: str, *, after: str | None = None, app: str | None = None) -> str:
    """The text of a migration. kind: one of FORMATS.

    after: the revision (alembic) or migration (Django) that it follows; app: Django's app label,
    which Django needs when `after` is given. Raises UsageError.
    """
    if kind not in FORMATS:
        raise UsageError(
            f"{kind!r} is no kind of migration", hint=f"one of {', '.join(sorted(FORMATS))}"
        )
    if kind == "django" and after is not None and app is None:
        raise UsageError("a Django migration that follows another needs its app", hint="--app NAME")
    return FORMATS[kind](plan, after, app)


def _undo(step: Step) -> str:
    """The way back of a creation. Of a drop the plan does not know the definition: apply does."""
    if step.action == "create":
        return f"DROP INDEX CONCURRENTLY IF EXISTS {_name(step.schema)}.{_name(step.name)}"
    return ""


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _sql(plan: Plan, _after: str | None, _app: str | None) -> str:
    lines = [
        f"-- Plan {plan.id} of filban, made {plan.created_at.isoformat()}.",
        "-- Not inside a transaction: psql without -1.",
        "SET lock_timeout = '60s';",
    ]
    for step in plan.steps:
        lines += ["", *(f"-- {line}" for line in step.reason.splitlines()), f"{step.sql};"]
    backs = [_undo(step) for step in reversed(plan.steps)]
    lines += ["", "-- The way back:", *(f"-- {back};" for back in backs if back)]
    return "\n".join(lines) + "\n"


def _alembic(plan: Plan, after: str | None, _app: str | None) -> str:
    ups = [_execute(step.sql) for step in plan.steps]
    downs = [_execute(back) for s in reversed(plan.steps) if (back := _undo(s))]
    return f'''"""Indexes of filban's plan {plan.id}.

{_reasons(plan)}
"""

from alembic import op

revision = "filban_{plan.id}"
down_revision = {after!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    # CONCURRENTLY cannot run inside a transaction
    with op.get_context().autocommit_block():
{_block(ups)}


def downgrade() -> None:
    with op.get_context().autocommit_block():
{_block(downs)}
'''


# SQLAlchemy's text() takes :word for a parameter, also inside a literal.
_PARAMETER = re.compile(r"(?<!:):(?=\w)")


def _execute(sql: str) -> str:
    escaped = _PARAMETER.sub(r"\\:", sql)
    return f"        op.execute({escaped!r})"


def _django(plan: Plan, after: str | None, app: str | None) -> str:
    operations = [
        f"        migrations.RunSQL(\n            {step.sql!r},\n"
        f"            reverse_sql={_undo(step) or None!r},\n        ),"
        for step in plan.steps
    ]
    depends = f"[({app!r}, {after!r})]" if after else "[]"
    return f'''"""Indexes of filban's plan {plan.id}.

{_reasons(plan)}
"""

from django.db import migrations


class Migration(migrations.Migration):
    # CONCURRENTLY cannot run inside a transaction
    atomic = False

    dependencies = {depends}

    operations = [
{_block(operations)}
    ]
'''


def _reasons(plan: Plan) -> str:
    """Plain text for a docstring: whatever would end or escape it is taken out."""
    reasons = (f"{step.index}: {step.reason}".rstrip(": ") for step in plan.steps)
    return "\n".join(r.replace("\\", "/").replace('"', "'") for r in reasons)


def _block(lines: list[str]) -> str:
    return "\n".join(lines) or "        pass"


FORMATS: Mapping[str, Callable[[Plan, str | None, str | None], str]] = {
    "alembic": _alembic,
    "django": _django,
    "sql": _sql,
}
