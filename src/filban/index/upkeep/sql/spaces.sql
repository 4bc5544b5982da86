-- What each btree of at least $1 bytes has, and what its estimate needs: rows, entry width, distinct keys.
-- One row a valid, unpartitioned index. From the planner's statistics of its columns; expressions have their own, under
-- the index's name. key_bytes and distinct_keys are NULL when a column has no statistics; is_visible: whether this role
-- may see them all. deduplicates: every operator class knows when equal means the same image, no INCLUDE,
-- not switched off. Columns exist from 14 on.
WITH large AS (
  SELECT i.indexrelid, i.indrelid, i.indnatts, i.indnkeyatts, i.indisunique, n.nspname, c.relname,
    tn.nspname AS table_schema, t.relname AS table_name, i.indkey::int2[] AS keys, i.indclass::oid[] AS classes,
    i.indcollation::oid[] AS collations, greatest(c.reltuples, 0)::float8 AS rows,
    c.relpages::bigint * current_setting('block_size')::bigint AS size_bytes,
    i.indisexclusion,
    coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 90) AS fillfactor,
    coalesce((SELECT option_value::bool FROM pg_options_to_table(c.reloptions)
      WHERE option_name = 'deduplicate_items'), true) AS may_deduplicate
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_am am ON am.oid = c.relam AND am.amname = 'btree'
  JOIN pg_class t ON t.oid = i.indrelid
  JOIN pg_namespace tn ON tn.oid = t.relnamespace
  WHERE i.indisvalid AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND c.relpages::bigint * current_setting('block_size')::bigint >= $1::bigint
), entries AS (
  SELECT l.indexrelid,
    count(*) = count(s.avg_width) AS complete,
    bool_and(has_column_privilege(a.attrelid, a.attnum, 'SELECT')
      AND NOT (owner.relrowsecurity AND row_security_active(l.indrelid))) AS visible,
    sum(s.avg_width * (1 - s.null_frac)) AS key_bytes,
    bool_or(s.null_frac > 0) AS nullable,
    exp(sum(ln(greatest(1, CASE WHEN s.n_distinct < 0 THEN -s.n_distinct * l.rows ELSE s.n_distinct END
      + (s.null_frac > 0)::int)))) AS distinct_keys
  FROM large l
  JOIN pg_class owner ON owner.oid = l.indrelid
  CROSS JOIN LATERAL unnest(l.keys) WITH ORDINALITY AS k (attnum, position)
  JOIN pg_attribute a ON a.attrelid = CASE k.attnum WHEN 0 THEN l.indexrelid ELSE l.indrelid END
    AND a.attnum = CASE k.attnum WHEN 0 THEN k.position ELSE k.attnum END
  LEFT JOIN pg_stats s ON s.schemaname = CASE k.attnum WHEN 0 THEN l.nspname ELSE l.table_schema END
    AND s.tablename = CASE k.attnum WHEN 0 THEN l.relname ELSE l.table_name END
    AND s.attname = a.attname AND NOT s.inherited
  GROUP BY l.indexrelid
)
SELECT
  l.nspname || '.' || l.relname AS name,
  format('%I.%I', l.nspname, l.relname) AS quoted,
  l.table_schema || '.' || l.table_name AS table_name,
  l.size_bytes,
  current_setting('block_size')::int AS page_bytes,
  l.rows,
  l.fillfactor,
  CASE WHEN e.complete THEN e.key_bytes::float8 END AS key_bytes,
  CASE WHEN e.complete THEN least(l.rows, e.distinct_keys)::float8 END AS distinct_keys,
  e.nullable IS TRUE AS is_nullable,
  e.visible AS is_visible,
  l.indisunique AS is_unique,
  l.may_deduplicate AND l.indnatts = l.indnkeyatts AND NOT EXISTS (
    SELECT FROM unnest(l.classes, l.collations[1:l.indnkeyatts]) AS k (class, collated)
    JOIN pg_opclass o ON o.oid = k.class
    LEFT JOIN pg_collation co ON co.oid = k.collated
    WHERE co.collisdeterministic IS FALSE OR NOT EXISTS (SELECT FROM pg_amproc p
      WHERE p.amprocfamily = o.opcfamily AND p.amproclefttype = o.opcintype
        AND p.amprocrighttype = o.opcintype AND p.amprocnum = 4)
  ) AS deduplicates
FROM large l
JOIN entries e USING (indexrelid)
ORDER BY name
