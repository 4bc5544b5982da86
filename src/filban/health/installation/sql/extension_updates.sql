-- Of the extensions $1, whose files are of the versions $2, those that can be updated to them from what
-- is installed here: one row each. A downgrade has no path and is left out. Columns exist from 14 on.
SELECT
  e.extname::text AS name,
  e.extversion AS installed,
  w.version AS available,
  format('ALTER EXTENSION %I UPDATE TO %L;', e.extname, w.version) AS update_sql
FROM unnest($1::text[], $2::text[]) w (name, version)
JOIN pg_extension e ON e.extname = w.name
WHERE EXISTS (
  SELECT FROM pg_extension_update_paths(e.extname) p
  WHERE p.source = e.extversion AND p.target = w.version AND p.path IS NOT NULL)
ORDER BY name
