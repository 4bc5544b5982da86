-- Statements of a standby that replay has cancelled, by cause: one row. Columns exist from 14 on.
SELECT
  sum(confl_snapshot)::float8 AS on_snapshot,
  sum(confl_lock)::float8 AS on_lock,
  sum(confl_bufferpin)::float8 AS on_buffer_pin,
  sum(confl_deadlock)::float8 AS on_deadlock,
  sum(confl_tablespace)::float8 AS on_tablespace
FROM pg_stat_database_conflicts
