-- What pg_stat_statements has counted: one row a (user, database, statement, top level or nested).
-- Rows of other users have query_id NULL where the role may not see them.
-- Times in milliseconds, *_blocks in blocks; exec_sq_ms2 is the sum of squared deviations from the
-- mean; min_ms and max_ms are over the entry's life. Everything exists from 18 on.
SELECT
  s.userid AS user_id,
  s.dbid AS database_id,
  s.queryid AS query_id,
  s.toplevel AS toplevel,
  s.calls AS calls,
  s.rows AS rows,
  s.total_exec_time AS exec_ms,
  s.min_exec_time AS min_ms,
  s.max_exec_time AS max_ms,
  s.stddev_exec_time * s.stddev_exec_time * s.calls AS exec_sq_ms2,
  s.plans AS plans,
  s.total_plan_time AS plan_ms,
  s.shared_blks_hit + s.local_blks_hit AS hit_blocks,
  s.shared_blks_read + s.local_blks_read AS read_blocks,
  s.shared_blks_dirtied + s.local_blks_dirtied AS dirtied_blocks,
  s.shared_blks_written + s.local_blks_written AS written_blocks,
  s.temp_blks_read AS temp_read_blocks,
  s.temp_blks_written AS temp_written_blocks,
  s.shared_blk_read_time + s.local_blk_read_time AS read_ms,
  s.shared_blk_write_time + s.local_blk_write_time AS write_ms,
  s.temp_blk_read_time + s.temp_blk_write_time AS temp_ms,
  s.wal_records AS wal_records,
  s.wal_fpi AS wal_fpi,
  s.wal_bytes::int8 AS wal_bytes,
  s.jit_generation_time + s.jit_inlining_time + s.jit_optimization_time + s.jit_emission_time
    + s.jit_deform_time AS jit_ms,
  s.wal_buffers_full AS wal_buffers_full,
  s.parallel_workers_to_launch AS workers_to_launch,
  s.parallel_workers_launched AS workers_launched,
  s.stats_since AS since
FROM @pg_stat_statements@.pg_stat_statements(false) s
