-- What this database's character classification does with letters beyond ASCII: one row. Asked by
-- trying, because it depends on version, provider and lc_ctype together: lower() of a letter, and
-- whether the text search parser separates an Arabic comma from the words around it.
-- replacement: an lc_ctype of this server that classifies Unicode.
-- Only for a database in UTF8. Columns exist from 14 on.
SELECT
  lower(chr(196)) = chr(228) AS lowers_letters,
  length(to_tsvector('pg_catalog.simple', chr(1587) || chr(1548) || chr(1587) || chr(1576))) = 2 AS separates_punctuation,
  (SELECT c.collctype::text FROM pg_collation c
    WHERE c.collprovider = 'c' AND c.collctype ~* '\.utf-?8$'
    ORDER BY c.collctype ~* '^C\.' DESC, c.collctype ~* '^en_US\.' DESC, c.collctype LIMIT 1) AS replacement
