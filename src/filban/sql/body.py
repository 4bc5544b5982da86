"""What the body of a function may do to the session.

A body in SQL is parsed as any text. A body in PL/pgSQL is only cut into tokens, which are those of
SQL, and judged by them: whatever stands where a command may begin has to be a harmless one, and
every word of it counts as a name that may be a relation's or a type's. That errs on the safe side,
needs no second grammar, and holds for every version of PL/pgSQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from filban.sql.effects import Effects, Name, session_effects
from filban.sql.parser import SqlError, tokens

JUDGED_LANGUAGES = frozenset({"sql", "plpgsql"})
# Commands of PL/pgSQL and SQL begin after one of these, and nowhere else.
_BEFORE_COMMAND = frozenset({";", "begin", "then", "else", "loop", ">>"})
# The commands that may leave something in the session, or change the catalogue.
_COMMANDS = frozenset(
    {
        "alter", "analyse", "analyze", "call", "checkpoint", "cluster", "comment", "create",
        "deallocate", "discard", "do", "drop", "explain", "grant", "import", "listen", "load",
        "prepare", "reassign", "refresh", "reindex", "reset", "revoke", "security",
        "unlisten", "vacuum",
    }
)  # fmt: skip
_SET_IN_TRANSACTION = frozenset({"local", "transaction", "constraints"})
_WRITING = frozenset({"insert", "update", "delete", "merge", "truncate", "copy"})
# Names are cut off one byte before (pg_config_manual.h).
_NAMEDATALEN = 64
_LITERAL = frozenset({"SCONST", "USCONST", "BCONST", "XCONST", "ICONST", "FCONST", "PARAM"})


def body_effects(language: str, body: str) -> Effects:
    """The effects of a function's body; what cannot be judged has a `reason`.

    language: as pg_language names it; only JUDGED_LANGUAGES can be judged.
    """
    try:
        if language == "sql":
            return session_effects(body)
        if language == "plpgsql":
            return _plpgsql(body)
    except SqlError as error:
        return Effects(reason=error.message)
    return Effects(reason=f"language {language}")


class _Word(NamedTuple):
    """A token: `text` is what it names (quoted names unquoted, others in lower case)."""

    text: str
    kind: str

    @property
    def is_name(self) -> bool:
        return self.kind == "name"


def _plpgsql(body: str) -> Effects:
    words = [_word(text, kind) for text, kind in tokens(body)]
    reason = next((r for i in range(len(words)) if (r := _reason(words, i))), "")
    named = frozenset(Name("", w.text) for w in words if w.is_name)
    called = [i for i, w in enumerate(words) if w.is_name and _text(words, i + 1) == "("]
    local = {i for i in called if words[i].text == "set_config" and _is_local(words, i + 1)}
    writes = any(w.text in _WRITING for w in words)
    return Effects(
        reason=reason,
        reads=frozenset() if writes else named,
        writes=named if writes else frozenset(),
        functions=frozenset(Name("", words[i].text) for i in called if i not in local),
        operators=frozenset(Name("", w.text) for w in words if w.kind == "operator"),
        types=named,
        fields=frozenset(
            w.text for i, w in enumerate(words) if w.is_name and _text(words, i - 1) == "."
        ),
        set_locally=bool(local),
        guessed=True,
    )


def _word(text: str, kind: str) -> _Word:
    if kind in _LITERAL:
        return _Word("", "literal")
    if text[0] == '"':
        name = text[1:-1].replace('""', '"')
    elif text[0].isalpha() or text[0] == "_":
        name = text.lower()
    else:
        return _Word(text, "operator")
    return _Word(name, "name" if _is_plain(text, kind) else "odd")


def _is_plain(text: str, kind: str) -> bool:
    """Whether the server takes this name as it stands here: no Unicode escapes, not cut off after
    63 bytes, no letters whose lower case depends on the server's encoding."""
    ascii_or_quoted = text.isascii() or text[0] == '"' or text == text.lower()
    return kind != "UIDENT" and len(text.encode()) < _NAMEDATALEN and ascii_or_quoted


def _text(words: Sequence[_Word], index: int) -> str:
    return words[index].text if 0 <= index < len(words) else ""


def _reason(words: Sequence[_Word], index: int) -> str:
    """Why the word at this place may change the session, or ""."""
    word = words[index]
    if word.kind == "odd":
        return "a name that is read in more ways than one"
    if word.text == "execute":
        return "EXECUTE of a text made at run time"
    if word.is_name and word.text.startswith("pg_temp"):
        return "a temporary object"
    if index and _text(words, index - 1) not in _BEFORE_COMMAND:
        return ""
    if word.text == "set" and _text(words, index + 1) not in _SET_IN_TRANSACTION:
        return "SET"
    return word.text.upper() if word.text in _COMMANDS else ""


def _is_local(words: Sequence[_Word], opening: int) -> bool:
    """Whether the parenthesis at `opening` holds three arguments, the last of them `true`."""
    depth, commas = 0, 0
    for index in range(opening, len(words)):
        text = words[index].text
        depth += (text in {"(", "["}) - (text in {")", "]"})
        commas += text == "," and depth == 1
        if depth == 0:
            return commas == 2 and (_text(words, index - 2), _text(words, index - 1)) == (
                ",",
                "true",
            )
    return False
