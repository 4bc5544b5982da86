-- Where this database's indexes are written: one row. Paths are NULL where this role may not see them; the default
-- tablespace of the database is "" when it is in the data directory. Columns exist from 14 on.
SELECT
  (SELECT s.setting FROM pg_settings s WHERE s.name = 'data_directory') AS data_directory,
  (SELECT pg_tablespace_location(coalesce(
      (SELECT t.oid FROM pg_tablespace t WHERE t.spcname = nullif(current_setting('default_tablespace'), '')),
      d.dattablespace))
    FROM pg_database d WHERE d.datname = current_database()) AS tablespace,
  extract(epoch FROM pg_postmaster_start_time())::float8 AS started_at_epoch
