-- The settings that a clone takes from its source: what plans, sorts and results depend on, and what its files demand.
-- value is as SET takes it; bytes for those in blocks.
SELECT
  s.name,
  current_setting(s.name) AS value,
  CASE WHEN s.unit = '8kB' THEN s.setting::bigint * 8192 END AS bytes
FROM pg_settings s
WHERE s.context <> 'internal'
  AND (s.name ~ '^(enable|cpu|geqo|jit|parallel|min_parallel)_' OR s.name ~ '_(page_cost|collapse_limit)$' OR s.name IN (
    'jit', 'geqo', 'effective_cache_size', 'default_statistics_target', 'constraint_exclusion', 'cursor_tuple_fraction',
    'plan_cache_mode', 'recursive_worktable_factor',
    'shared_buffers', 'work_mem', 'hash_mem_multiplier', 'maintenance_work_mem', 'temp_buffers', 'effective_io_concurrency',
    'maintenance_io_concurrency', 'max_parallel_workers', 'max_parallel_workers_per_gather',
    'max_parallel_maintenance_workers', 'max_worker_processes', 'max_connections', 'max_prepared_transactions',
    'max_locks_per_transaction', 'wal_level', 'wal_log_hints', 'wal_compression', 'TimeZone', 'DateStyle',
    'IntervalStyle', 'default_text_search_config', 'bytea_output', 'shared_preload_libraries'))
  AND s.name NOT IN ('jit_provider', 'jit_debugging_support', 'jit_dump_bitcode', 'jit_profiling_support')
