-- What identifies this run of counters: one row. epoch is the moment they last began from zero as a
-- whole: a reset of everything, or shared memory made anew (a crash, a restart with
-- pg_stat_statements.save = off); a restart that keeps them keeps it. evictions counts passes that
-- dropped the least used 5 %. Columns exist from 14 on.
SELECT
  i.stats_reset AS epoch,
  i.dealloc AS evictions,
  current_setting('pg_stat_statements.max')::int AS max_entries,
  clock_timestamp() AS taken_at,
  pg_postmaster_start_time() AS started_at
FROM @pg_stat_statements@.pg_stat_statements_info() i
