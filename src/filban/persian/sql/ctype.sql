-- What this database's character classification does with letters beyond ASCII: one row. Asked by
-- trying, because it depends on version, provider and lc_ctype together: lower() of a letter, and
-- whether the text search parser separates an Arabic comma from the words around it.
-- Only for a database in UTF8. Columns exist from 14 on.
SELECT
  lower(chr(196)) = chr(228) AS lowers_letters,
  length(to_tsvector('pg_catalog.simple', chr(1587) || chr(1548) || chr(1587) || chr(1576))) = 2 AS separates_punctuation
