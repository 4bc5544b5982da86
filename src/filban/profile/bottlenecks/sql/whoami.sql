-- The server process of this connection: one row. Its identifier and when it began (Unix seconds).
SELECT
  pg_backend_pid() AS pid,
  extract(epoch FROM backend_start)::float8 AS started,
  inet_server_addr() IS NULL OR host(inet_server_addr()) IN ('127.0.0.1', '::1') AS loopback
FROM pg_stat_activity
WHERE pid = pg_backend_pid()
