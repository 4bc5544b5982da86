-- One row about the server, the database and what the connected role may do.
-- Runs with the rights of any role; what it may not see comes back as NULL, never as false or zero.
-- Columns exist from 14 on.
SELECT
  current_setting('server_version_num')::int AS version_num,
  current_setting('server_version') AS version_text,
  version() AS version_full,
  pg_is_in_recovery() AS in_recovery,
  current_database()::text AS database,
  current_user::text AS role,
  (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
  (SELECT rolreplication FROM pg_roles WHERE rolname = current_user) AS replication,
  pg_has_role('pg_monitor', 'USAGE') AS monitor,
  pg_has_role('pg_read_all_stats', 'USAGE') AS read_all_stats,
  pg_has_role('pg_read_all_settings', 'USAGE') AS read_all_settings,
  pg_has_role('pg_signal_backend', 'USAGE') AS signal_backend,
  (SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = current_database()) AS owner,
  pg_postmaster_start_time() AS started_at,
  now() AS server_time,
  (SELECT pg_encoding_to_char(encoding)::text FROM pg_database WHERE datname = current_database()) AS encoding,
  (SELECT datcollate::text FROM pg_database WHERE datname = current_database()) AS lc_collate,
  (SELECT datctype::text FROM pg_database WHERE datname = current_database()) AS lc_ctype,
  (SELECT array_agg(rolname::text ORDER BY rolname) FROM pg_roles
    WHERE rolname = ANY ('{rds_superuser,rdsadmin,cloudsqlsuperuser,cloudsqladmin,azure_pg_admin,azuresu,neon_superuser,supabase_admin,alloydbsuperuser,doadmin,aiven,_heroku_admin,crunchy_superuser,tsdbadmin,streaming_replica,cnpg_pooler_pgbouncer,patroni}'::text[])
  ) AS known_roles
