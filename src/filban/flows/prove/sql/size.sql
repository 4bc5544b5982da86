-- What a copy of this server is: bytes of all databases, its superuser of birth, its tablespaces' directories.
SELECT
  (SELECT coalesce(sum(pg_tablespace_size(t.oid)), 0)::bigint FROM pg_tablespace t
    WHERE pg_has_role('pg_read_all_stats', 'USAGE') OR has_tablespace_privilege(t.oid, 'CREATE')) AS size_bytes,
  (SELECT r.rolname::text FROM pg_roles r WHERE r.oid = 10) AS superuser,
  ARRAY(SELECT pg_tablespace_location(t.oid) FROM pg_tablespace t
    WHERE pg_tablespace_location(t.oid) <> '' ORDER BY 1) AS tablespaces
