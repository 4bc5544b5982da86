-- Which functions may stand in an index, by name ($1: NULL for none): immutable when every variant that takes the type
-- $2 (pairwise) as one of its arguments is; type NULL: every variant. One row a pair that exists. From 14 on.
SELECT
  w.name,
  w.type,
  bool_and(p.provolatile = 'i') AS is_immutable
FROM unnest($1::text[], $2::text[]) AS w (name, type)
JOIN pg_proc p ON p.proname = w.name AND p.prokind = 'f'
WHERE w.type IS NULL OR EXISTS (
  SELECT FROM unnest(p.proargtypes::oid[]) AS argument (oid) JOIN pg_type t ON t.oid = argument.oid
  WHERE t.typname = w.type OR t.typtype = 'p' OR w.type = 'varchar' AND t.typname = 'text')
GROUP BY w.name, w.type
