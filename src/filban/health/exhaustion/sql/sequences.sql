-- Sequences of this database with the column they feed, if any: one row a sequence and column (owned
-- by it, or its default). last_value is NULL before the first nextval, and where `readable` is false:
-- no right to it, or an ALTER SEQUENCE holds it locked and would keep us waiting.
-- widen_sql is NULL where the column's type cannot be changed. sequence_type and column_type are int2, int4, int8 or another. Columns exist from 14 on.
WITH locked AS MATERIALIZED (
  SELECT l.relation FROM pg_locks l
  WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
), partition_key AS MATERIALIZED (
  -- a column of a partition key cannot change its type
  SELECT pg_partition_root(p.partrelid) AS root, a.attname
  FROM pg_partitioned_table p
  JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs::int2[])
), fed AS (
  -- owned: serial and identity columns
  SELECT d.objid AS sequence, d.refobjid AS table_, d.refobjsubid AS column_, d.deptype = 'i' AS identity
  FROM pg_depend d
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  UNION
  -- not owned, but named in a default
  SELECT d.refobjid, f.adrelid, f.adnum, false
  FROM pg_depend d
  JOIN pg_attrdef f ON f.oid = d.objid
  WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n'
), sequence AS (
  SELECT s.*, c.relname, n.nspname,
    has_sequence_privilege(c.oid, 'SELECT, USAGE')
      AND c.oid NOT IN (SELECT relation FROM locked) AS readable
  FROM pg_sequence s
  JOIN pg_class c ON c.oid = s.seqrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE NOT pg_is_other_temp_schema(c.relnamespace)
)
SELECT
  s.nspname || '.' || s.relname AS name,
  format('%I.%I', s.nspname, s.relname) AS quoted,
  s.readable,
  CASE WHEN s.readable THEN pg_sequence_last_value(s.seqrelid) END AS last_value,
  s.seqincrement AS increment,
  s.seqmin AS minimum,
  s.seqmax AS maximum,
  s.seqcycle AS cycles,
  t.typname::text AS sequence_type,
  coalesce(f.identity, false) AS identity,
  cn.nspname || '.' || c.relname || '.' || a.attname AS column_name,
  ct.typname::text AS column_type,
  CASE WHEN c.oid IS NOT NULL AND (c.oid, a.attname) NOT IN (SELECT root, attname FROM partition_key) THEN
    format('ALTER TABLE %I.%I ALTER COLUMN %I TYPE bigint;', cn.nspname, c.relname, a.attname)
  END AS widen_sql
FROM sequence s
JOIN pg_type t ON t.oid = s.seqtypid
LEFT JOIN fed f ON f.sequence = s.seqrelid
LEFT JOIN pg_attribute a ON a.attrelid = f.table_ AND a.attnum = f.column_ AND a.attinhcount = 0
LEFT JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_namespace cn ON cn.oid = c.relnamespace
LEFT JOIN pg_type ct ON ct.oid = a.atttypid
ORDER BY name, column_name
