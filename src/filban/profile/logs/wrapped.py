"""stderr lines inside JSON: Cloud SQL's entries in Cloud Logging, and Docker's log files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from filban.errors import UsageError
from filban.profile.logs.frame import Batch, Unread
from filban.profile.logs.infer import infer
from filban.profile.logs.jsonlog import parsed
from filban.profile.logs.prefix import Prefix
from filban.profile.logs.stderr import StderrLog

# The key that holds the text, by format.
KEYS = {"cloudsql": "textPayload", "docker": "log"}
_ENTRY_END = re.compile(rb"^  \},?\n", re.MULTILINE)  # in what `gcloud logging read` prints


class WrappedLog:
    """Reads the texts of a JSON object a line, or of an array of objects, through `StderrLog`."""

    def __init__(self, format: str, sample: bytes, prefix: Prefix | None = None) -> None:  # noqa: A002
        self.format = format
        self._key = KEYS[format]
        self._array = sample.lstrip().startswith(b"[")
        lines = self._lines(sample, Unread())
        found = prefix or infer([line for text in lines for line in text.split("\n")])
        if found is None:
            raise UsageError(
                f"the {format} lines show no log_line_prefix", hint="give it with --prefix"
            )
        self._stderr = StderrLog(found)

    def cut(self, data: bytes, before: bytes = b"") -> int:  # noqa: ARG002
        if not self._array:
            return data.rfind(b"\n") + 1
        ends = [match.end() for match in _ENTRY_END.finditer(data)]
        return ends[-1] if ends else 0

    def read(self, data: bytes) -> Batch:
        unread = Unread()
        lines = self._lines(data, unread)
        batch = self._stderr.read("\n".join(lines).encode("utf-8", "replace") + b"\n")
        batch.unread.merge(unread)
        # Cloud Logging prints the newest first.
        return Batch(batch.events.sort("time", maintain_order=True), batch.unread)

    def _lines(self, data: bytes, unread: Unread) -> Sequence[str]:
        documents = self._entries(data, unread) if self._array else self._objects(data, unread)
        texts = [text for d in documents if isinstance(text := d.get(self._key), str)]
        if self.format == "docker":  # one line each, as they were
            return [line for text in texts for line in text.removesuffix("\n").split("\n")]
        return [text.rstrip("\n").replace("\n\t", "\n").replace("\n", "\n\t") for text in texts]

    def _objects(self, data: bytes, unread: Unread) -> list[dict[str, Any]]:
        found = []
        for line in data.split(b"\n"):
            document = parsed(line)
            if document is not None:
                found.append(document)
            elif line.strip():
                unread.add(line)
        return found

    def _entries(self, data: bytes, unread: Unread) -> list[dict[str, Any]]:
        inside = data.strip().removeprefix(b"[").removesuffix(b"]").strip().strip(b",")
        last = self.cut(data)
        for text in (inside, data[:last].strip().removeprefix(b"[").strip().strip(b",")):
            try:
                documents = json.loads(b"[" + text + b"]")
            except (ValueError, RecursionError):
                continue
            if text is not inside:
                unread.add(data[last:])
            return [document for document in documents if isinstance(document, dict)]
        unread.add(data)
        return []
