-- pg_terminate_backend for one session: a row, unless it has gone. $1: pid; $2: backend_start, as the pid may
-- have been given to another session since.
SELECT pg_terminate_backend(pid) AS sent
FROM pg_stat_activity
WHERE pid = $1 AND backend_start IS NOT DISTINCT FROM $2
