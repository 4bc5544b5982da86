"""The .sql loader: one query, one file, and variants only where a major differs.

`unused.sql` is the base; `unused.17.sql` beside it serves 17 and later: the highest number that is
not above the server wins. A header comment says what a file returns. A placeholder
`@extension_name@` becomes the schema of that extension, quoted by the server itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from filban.errors import NotSupported

OLDEST_MAJOR = 14
NEWEST_MAJOR = 18
_NAME = re.compile(r"(?P<name>[a-z0-9_]+)(?:\.(?P<major>\d+))?\.sql")
_EXTENSION = re.compile(r"@([a-z_]+)@")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of ours: the package that holds its file, and its name without `.sql`."""

    package: str
    name: str

    def text(self, major: int) -> str:
        """The SQL for a server of `major`. Raises NotSupported when every variant is newer."""
        fitting = [m for m in _variants(self.package).get(self.name, {}) if m <= major]
        if not fitting:
            raise NotSupported(
                f"{self.name} needs a newer server than PostgreSQL {major}",
                hint=f"filban works with PostgreSQL {OLDEST_MAJOR} to {NEWEST_MAJOR}",
            )
        return _read(_variants(self.package)[self.name][max(fitting)])

    def extensions(self, major: int) -> frozenset[str]:
        """The extensions whose schema the text asks for."""
        return frozenset(_EXTENSION.findall(self.text(major)))


def queries(package: str) -> list[Query]:
    """Every query of a package's `sql` folder, for the contract test."""
    return [Query(package, name) for name in sorted(_variants(package))]


def place_schemas(text: str, schemas: dict[str, str]) -> str:
    """Replace `@extension@` by the extension's schema, which the server has quoted."""
    return _EXTENSION.sub(lambda match: schemas[match.group(1)], text)


@cache
def _variants(package: str) -> dict[str, dict[int, Path]]:
    folder = Path(str(resources.files(package))) / "sql"
    found: dict[str, dict[int, Path]] = {}
    for file in folder.glob("*.sql"):
        match = _NAME.fullmatch(file.name)
        if match is not None:
            found.setdefault(match["name"], {})[int(match["major"] or 0)] = file
    return found


@cache
def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")
