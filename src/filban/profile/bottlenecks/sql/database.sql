-- What all databases have counted since their statistics were reset: one row. Times in milliseconds.
-- active_ms and the like exist from 14 on; a session reports them when it becomes idle, once a second at most.
SELECT
  sum(xact_commit + xact_rollback)::float8 AS transactions,
  sum(xact_rollback)::float8 AS rollbacks,
  sum(blks_read)::float8 AS blocks_read,
  sum(blks_hit)::float8 AS blocks_hit,
  sum(blk_read_time)::float8 AS block_read_ms,
  sum(temp_files)::float8 AS temp_files,
  sum(temp_bytes)::float8 AS temp_bytes,
  sum(deadlocks)::float8 AS deadlocks,
  sum(conflicts)::float8 AS conflicts,
  sum(sessions)::float8 AS sessions,
  sum(session_time)::float8 AS session_ms,
  sum(active_time)::float8 AS active_ms,
  sum(idle_in_transaction_time)::float8 AS idle_in_transaction_ms,
  sum(tup_returned)::float8 AS rows_returned,
  sum(tup_inserted + tup_updated + tup_deleted)::float8 AS rows_written
FROM pg_stat_database
