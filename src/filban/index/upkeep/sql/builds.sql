-- What builds the index of each foreign key of $1, or completes each invalid partitioned index of $2, without blocking
-- writes: one row a statement, in order. oid is the foreign key's or the index's.
-- A partitioned table cannot have one built CONCURRENTLY: its index is made ON ONLY the parent (invalid, empty), then one
-- on each partition and attached; an equal index that a partition has already is attached as it is. Attaching the
-- last one makes the parent's valid. Names are chosen here: shortened by a hash where they would be longer than
-- an identifier may be, or are taken. Foreign-table partitions hold no indexes. Columns exist from 14 on.
WITH RECURSIVE locked AS MATERIALIZED (
  -- deparsing opens the relation: behind an exclusive lock, held or waited for, it would wait
  SELECT l.relation AS oid FROM pg_locks l
  WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
), wanted AS (
  SELECT k.oid AS key, k.conrelid AS root, NULL::oid AS index, false AS is_unique,
    '_' || array_to_string(l.names, '_') || '_idx' AS ending,
    ' USING btree (' || l.list || ')' AS tail
  FROM pg_constraint k
  CROSS JOIN LATERAL (
    SELECT array_agg(a.attname ORDER BY u.position) AS names,
      string_agg(quote_ident(a.attname), ', ' ORDER BY u.position) AS list
    FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, position)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
  ) l
  WHERE k.contype = 'f' AND k.oid = ANY ($1::bigint[]::oid[])
  UNION ALL
  SELECT i.indexrelid, i.indrelid, i.indexrelid, i.indisunique, '_' || c.relname,
    -- from " USING" on the statement is the same for each partition: what stands before it is cut by its length
    substr(pg_get_indexdef(i.indexrelid), 1 + length(format('CREATE %sINDEX %I ON ONLY %I.%I',
      CASE WHEN i.indisunique THEN 'UNIQUE ' END, c.relname, tn.nspname, t.relname)))
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_class t ON t.oid = i.indrelid
  JOIN pg_namespace tn ON tn.oid = t.relnamespace
  WHERE i.indexrelid = ANY ($2::bigint[]::oid[]) AND c.relkind = 'I'
    AND i.indrelid NOT IN (SELECT oid FROM locked) AND i.indexrelid NOT IN (SELECT oid FROM locked)
), tree AS (
  SELECT w.key, w.root AS oid, NULL::oid AS parent, 0 AS level FROM wanted w
  UNION ALL
  SELECT tree.key, h.inhrelid, tree.oid, tree.level + 1
  FROM tree
  JOIN pg_class p ON p.oid = tree.oid AND p.relkind = 'p'
  JOIN pg_inherits h ON h.inhparent = tree.oid
), spelled AS (
  SELECT tree.*, w.root, w.index AS root_index, w.is_unique, w.tail, n.oid AS schema, n.nspname, c.relname, c.relkind,
    c.relname || w.ending AS stem
  FROM tree
  JOIN wanted w ON w.key = tree.key
  JOIN pg_class c ON c.oid = tree.oid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p')
), existing AS (
  SELECT s.key, s.oid, x.indexrelid AS index, c.relname AS name, x.indisvalid AS is_valid, h.inhparent IS NOT NULL AS attached,
    row_number() OVER (PARTITION BY s.key, s.oid
      ORDER BY (x.indexrelid = s.root_index) DESC NULLS LAST, h.inhparent IS NOT NULL DESC, x.indexrelid) AS choice
  FROM spelled s
  JOIN pg_index x ON x.indrelid = s.oid AND x.indisunique = s.is_unique AND x.indislive
  JOIN pg_class c ON c.oid = x.indexrelid
  LEFT JOIN pg_inherits h ON h.inhrelid = x.indexrelid
  WHERE s.oid NOT IN (SELECT oid FROM locked) AND x.indexrelid NOT IN (SELECT oid FROM locked)
    AND (s.oid <> s.root OR x.indexrelid = s.root_index)
    AND (s.root_index IS NOT NULL OR h.inhparent IS NULL)
    AND (x.indisvalid OR h.inhparent IS NOT NULL OR x.indexrelid = s.root_index OR s.relkind = 'p')
    AND substr(pg_get_indexdef(x.indexrelid), 1 + length(format('CREATE %sINDEX %I ON %s%I.%I',
      CASE WHEN x.indisunique THEN 'UNIQUE ' END, c.relname, CASE WHEN s.relkind = 'p' THEN 'ONLY ' END,
      s.nspname, s.relname))) = s.tail
), named AS (
  SELECT s.*, e.index IS NOT NULL AS exists, coalesce(e.is_valid, false) AS is_valid, coalesce(e.attached, false) AS attached,
    CASE
    WHEN e.index IS NOT NULL THEN e.name::text
    WHEN octet_length(s.stem) <= 63
      AND NOT EXISTS (SELECT FROM pg_class x WHERE x.relnamespace = s.schema AND x.relname = s.stem)
    THEN s.stem
    -- 50 bytes of it, cut between characters, 8 hexadecimal digits and the ending: at most 63 bytes
    ELSE left(s.stem, (SELECT max(i) FROM generate_series(1, 50) i WHERE octet_length(left(s.stem, i)) <= 50))
      || '_' || left(md5(s.stem || (SELECT count(*) FROM pg_class x WHERE x.relnamespace = s.schema)), 8) || '_idx'
    END AS index_name
  FROM spelled s
  LEFT JOIN existing e ON e.key = s.key AND e.oid = s.oid AND e.choice = 1
)
SELECT
  n.key::bigint AS oid,
  step.statement
FROM named n
LEFT JOIN named p ON p.key = n.key AND p.oid = n.parent
CROSS JOIN LATERAL (VALUES
  (0, CASE
    WHEN n.exists AND (n.is_valid OR n.relkind = 'p') THEN NULL
    WHEN n.exists THEN format('REINDEX INDEX CONCURRENTLY %I.%I;', n.nspname, n.index_name)
    ELSE format('CREATE %sINDEX %s%I ON %s%I.%I%s;', CASE WHEN n.is_unique THEN 'UNIQUE ' END,
      CASE WHEN n.relkind = 'r' THEN 'CONCURRENTLY ' END, n.index_name,
      CASE WHEN n.relkind = 'p' THEN 'ONLY ' END, n.nspname, n.relname, n.tail)
    END),
  -- the deepest first: a sub-partitioned index becomes valid with its last partition, then its parent's
  (1, CASE WHEN p.oid IS NOT NULL AND NOT (n.attached AND n.is_valid) THEN format(
    'ALTER INDEX %I.%I ATTACH PARTITION %I.%I;', p.nspname, p.index_name, n.nspname, n.index_name) END)
) AS step (phase, statement)
WHERE step.statement IS NOT NULL
ORDER BY n.key, step.phase, CASE step.phase WHEN 0 THEN n.level ELSE -n.level END, n.nspname, n.relname
