-- The backend of pid $1, if it is the one that started at $2 (ISO text): no row or one.
SELECT a.pid
FROM pg_stat_activity a
WHERE a.pid = $1::int AND a.backend_start = $2::text::timestamptz
