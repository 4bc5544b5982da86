-- The history file of a timeline ($1), which says where each timeline before it ended: one row; NULL
-- on timeline 1, which has none. A superuser's, or with EXECUTE on pg_read_file(text, bigint, bigint,
-- boolean) and pg_read_server_files. Columns exist from 14 on.
SELECT pg_read_file(
  'pg_wal/' || upper(lpad(to_hex($1::int), 8, '0')) || '.history', 0, 1048576, true
) AS content
