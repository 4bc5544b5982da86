-- $1 a name. Writes it into the WAL as a restore point. One row: where, and in which WAL file.
WITH point AS (SELECT pg_create_restore_point($1) AS lsn)
SELECT lsn::text AS lsn, pg_walfile_name(lsn) AS wal_file FROM point
