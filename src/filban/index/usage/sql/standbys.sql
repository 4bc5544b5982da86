-- How many servers stream from this one: one row. Visible to every role. Columns exist from 14 on.
SELECT count(*)::int AS streaming FROM pg_stat_replication WHERE application_name <> 'pg_basebackup'
