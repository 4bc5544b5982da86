"""Any text that holds a plan -> `Plan`: JSON, text, YAML, XML; pasted, wrapped, or from a log."""

from __future__ import annotations

from filban.errors import UsageError
from filban.profile.plans import paste
from filban.profile.plans.build import build
from filban.profile.plans.formats import Properties, json, text, xml, yaml
from filban.profile.plans.model import Plan

# A plan of 20,000 nodes has some 20 MB in JSON; what is larger is another file, given by mistake.
LONGEST = 32 * 1024**2
_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


def decode(raw: bytes) -> str:
    """A file's bytes as text; what is no UTF-8 is replaced, as names in it are only shown.

    PowerShell's redirection writes UTF-16. Raises UsageError (too long).
    """
    _check(len(raw))
    encoding = next((name for mark, name in _BOMS if raw.startswith(mark)), "utf-8")
    return raw.decode(encoding, "replace")


def parse(source: str | bytes) -> Plan:
    """The plan in `source`; of several the one that took longest.

    Raises UsageError: nothing in it is a plan, or it is damaged, too deep or too long.
    """
    plans = parse_all(source)
    return max(plans, key=lambda plan: plan.total_ms or 0.0)


def parse_all(source: str | bytes) -> tuple[Plan, ...]:
    """Every plan in `source`, at least one. Raises UsageError."""
    content = decode(source) if isinstance(source, bytes) else source
    _check(len(content))
    logged = paste.logged(content)
    found = [item for part in logged for item in _one(part)] if logged else _one(content)
    if not found:
        raise UsageError(
            "there is no plan in this text",
            hint="give what EXPLAIN prints, in any of its formats, or a DSN and a statement",
        )
    return tuple(build(document, source=source) for source, document in found)


def _check(length: int) -> None:
    if length > LONGEST:
        raise UsageError(
            f"{length:,} characters are more than a plan has ({LONGEST:,})",
            hint="give the plan alone; `filban logs` reads whole logs",
        )


def _one(content: str) -> list[tuple[str, Properties]]:
    """The plans of one text with the name of their format, by trying what it looks like."""
    if "<explain" in content:
        return [("xml", document) for document in xml.read(paste.unframe(content))]
    if "{" in content:
        documents = json.read(content) or json.read(paste.unframe(content))
        if documents:
            return [("json", document) for document in documents]
    plain = paste.unframe(content)
    if "Node Type:" in plain:
        documents = yaml.read(plain)
        if documents:
            return [("yaml", document) for document in documents]
    return [("text", document) for document in text.read(plain)]
