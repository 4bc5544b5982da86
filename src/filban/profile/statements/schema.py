"""The history file's tables. Times are microseconds since 1970, in UTC."""

from __future__ import annotations

from filban.profile.statements.rows import Counts

VERSION = 1
COUNTS = ", ".join(Counts._fields)

# run: one run of counters, see rows.Snapshot. standing: the counters at its last snapshot.
# span: what was between two snapshots (from_zero: from the run's beginning), growth: its entries.
TABLES = f"""
CREATE TABLE run (
  id INTEGER PRIMARY KEY, cluster TEXT NOT NULL, epoch INTEGER NOT NULL,
  evictions INTEGER NOT NULL, max_entries INTEGER NOT NULL,
  taken_at INTEGER NOT NULL, started_at INTEGER NOT NULL,
  UNIQUE (cluster, epoch)
);
CREATE TABLE entry (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  user_id INTEGER NOT NULL, database_id INTEGER NOT NULL, query_id INTEGER NOT NULL,
  toplevel INTEGER NOT NULL,
  UNIQUE (run, user_id, database_id, query_id, toplevel)
);
CREATE INDEX entry_statement ON entry (database_id, query_id);
CREATE TABLE standing (
  entry INTEGER PRIMARY KEY REFERENCES entry ON DELETE CASCADE, {COUNTS}
);
CREATE TABLE span (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  started INTEGER NOT NULL, ended INTEGER NOT NULL, from_zero INTEGER NOT NULL,
  restarted INTEGER NOT NULL, gone INTEGER NOT NULL, evicted INTEGER NOT NULL,
  hidden INTEGER NOT NULL
);
CREATE INDEX span_time ON span (ended);
CREATE TABLE growth (
  span INTEGER NOT NULL REFERENCES span ON DELETE CASCADE,
  entry INTEGER NOT NULL REFERENCES entry ON DELETE CASCADE, {COUNTS},
  PRIMARY KEY (span, entry)
) WITHOUT ROWID;
CREATE INDEX growth_entry ON growth (entry);
CREATE TABLE text (
  cluster TEXT NOT NULL, database_id INTEGER NOT NULL, query_id INTEGER NOT NULL,
  fingerprint TEXT NOT NULL, query TEXT NOT NULL, labels TEXT NOT NULL,
  PRIMARY KEY (cluster, database_id, query_id)
) WITHOUT ROWID;
CREATE TABLE name (
  cluster TEXT NOT NULL, kind TEXT NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL,
  PRIMARY KEY (cluster, kind, id)
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""
