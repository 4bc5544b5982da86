-- Which functions may stand in an index, by name, count of arguments and type of a column among them ($1, $2, $3, one
-- each): immutable when every variant that fits is; type NULL: of any type. One row for each that exists. From 14 on.
SELECT
  w.name,
  w.arguments,
  w.type,
  bool_and(p.provolatile = 'i') AS is_immutable
FROM unnest($1::text[], $2::int[], $3::text[]) AS w (name, arguments, type)
JOIN pg_proc p ON p.proname = w.name AND p.prokind = 'f'
  AND w.arguments BETWEEN p.pronargs - p.pronargdefaults AND CASE WHEN p.provariadic = 0 THEN p.pronargs ELSE 100 END
WHERE w.type IS NULL OR w.arguments = 0 OR EXISTS (
  SELECT FROM unnest(p.proargtypes::oid[]) AS argument (oid) JOIN pg_type t ON t.oid = argument.oid
  WHERE t.typname = w.type OR t.typtype = 'p' OR w.type = 'varchar' AND t.typname = 'text')
GROUP BY w.name, w.arguments, w.type
