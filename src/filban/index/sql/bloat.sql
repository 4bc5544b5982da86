-- An estimate of the bytes that a btree index needs if it were built anew, beside those it has, for
-- each of at least $1 bytes: one row an index. From the planner's statistics: an entry a row of 8 bytes header,
-- the keys' average widths aligned to 8, and 4 bytes line pointer; where deduplication applies, an entry
-- a distinct key and 6 bytes a row. needed_bytes is NULL without statistics; visible: whether this role
-- may see them. Columns exist from 14 on.
WITH large AS (
  SELECT x.*, c.relname, n.nspname, c.reltuples, tn.nspname AS table_schema, t.relname AS table_of, t.oid AS table_id,
    c.relpages::bigint AS pages, current_setting('block_size')::bigint AS page,
    coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 90) AS fillfactor,
    NOT coalesce((SELECT option_value IN ('off', 'false', 'no', '0') FROM pg_options_to_table(c.reloptions) WHERE option_name = 'deduplicate_items'), false)
      AND x.indnatts = x.indnkeyatts
      -- support function 4 of the operator class says whether equal keys are equal images
      AND NOT EXISTS (
        SELECT FROM unnest(x.indclass) k(oid) JOIN pg_opclass o ON o.oid = k.oid
        WHERE NOT EXISTS (SELECT FROM pg_amproc p WHERE p.amprocfamily = o.opcfamily
          AND p.amproclefttype = o.opcintype AND p.amproclefttype = p.amprocrighttype AND p.amprocnum = 4)) AS dedups
  FROM pg_index x
  JOIN pg_class c ON c.oid = x.indexrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
  JOIN pg_class t ON t.oid = x.indrelid
  JOIN pg_namespace tn ON tn.oid = t.relnamespace
  WHERE c.relkind = 'i' AND c.relpersistence <> 't' AND x.indisvalid
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND c.relpages::bigint * current_setting('block_size')::bigint >= $1::bigint
), widths AS (
  SELECT l.indexrelid,
    bool_and(has_column_privilege(l.table_id, greatest(k.attnum, 1)::int2, 'SELECT')) AS visible,
    count(*) = count(s.avg_width) AS complete,
    sum(s.avg_width * (1 - s.null_frac)) AS data,
    max(CASE WHEN s.null_frac > 0 THEN 1 ELSE 0 END) AS nullable,
    -- the product over the columns of their distinct values, as a sum of logarithms
    sum(ln(greatest(1, CASE WHEN s.n_distinct < 0 THEN -s.n_distinct * greatest(l.reltuples, 1) ELSE s.n_distinct END))) AS ln_distinct
  FROM large l
  CROSS JOIN LATERAL unnest(l.indkey) WITH ORDINALITY k(attnum, at)
  LEFT JOIN pg_attribute a ON a.attrelid = CASE k.attnum WHEN 0 THEN l.indexrelid ELSE l.table_id END
    AND a.attnum = CASE k.attnum WHEN 0 THEN k.at::int2 ELSE k.attnum END
  LEFT JOIN pg_stats s ON s.attname = a.attname AND NOT s.inherited
    AND s.schemaname = CASE k.attnum WHEN 0 THEN l.nspname ELSE l.table_schema END
    AND s.tablename = CASE k.attnum WHEN 0 THEN l.relname ELSE l.table_of END
  GROUP BY l.indexrelid
), sizes AS (
  SELECT l.*, w.visible, w.complete,
    8 + w.nullable * 8 + ceil(w.data / 8.0) * 8 + 4 AS entry,
    -- exp() of a large sum overflows
    exp(least(w.ln_distinct, ln(greatest(l.reltuples, 1)))) AS keys
  FROM large l JOIN widths w USING (indexrelid)
)
SELECT
  nspname || '.' || relname AS name,
  format('%I.%I', nspname, relname) AS quoted,
  table_schema || '.' || table_of AS table_name,
  pages * page AS size_bytes,
  CASE WHEN complete AND reltuples >= 0 THEN (page + page * ceil(
    -- 40 bytes of page header and btree's own at its end; a hundredth for the inner pages
    CASE WHEN dedups THEN least(reltuples * entry, keys * entry + reltuples * 6) ELSE reltuples * entry END
    / ((page - 40) * fillfactor / 100.0) * 1.01
  ))::bigint END AS needed_bytes,
  visible AS visible
FROM sizes
ORDER BY name
