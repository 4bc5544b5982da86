"""`filban logs`: what a server's log says, truly and fast.

    analysis = Analysis(Only(databases=("news",)))
    report = await read_logs(["/var/log/postgresql"], analysis)

Formats: stderr with any log_line_prefix, csvlog, jsonlog, syslog, RDS, Cloud SQL, CloudNativePG,
Docker; gzip, zstd, lz4, bzip2, xz. Needs `filban[ops]` (polars). Everything that is kept has a
limit, so memory does not grow with the log.

How it goes: `sources` (files) -> `feed` (pieces) -> `sniff` and one reader per format (`csvlog`,
`jsonlog`, `stderr`, `syslog`, `wrapped`) -> one frame of events (`frame`) -> `analyse`, which hands
it to `statements`, `failures`, `locks`, `server`, `sessions`, `temp`, `plans` -> `rows.LogReport`.
"""

from __future__ import annotations

from filban.errors import ExtraMissing

try:
    import polars  # noqa: F401
except ImportError as error:
    raise ExtraMissing("polars", "ops") from error

from filban.profile.logs.analyse import Analysis, Only
from filban.profile.logs.ask import line_prefix
from filban.profile.logs.following import Follower, follow
from filban.profile.logs.positions import Positions
from filban.profile.logs.read import read_logs
from filban.profile.logs.rows import LogReport

__all__ = [
    "Analysis",
    "Follower",
    "LogReport",
    "Only",
    "Positions",
    "follow",
    "line_prefix",
    "read_logs",
]
