-- What a new database needs in order to sort as this one does and to know letters: one row. provider and
-- template_provider (of template0) are c (libc), i (ICU) or b (builtin); provider_locale is NULL for libc.
-- ctype: an lc_ctype of this server that classifies Unicode, NULL where none is known.
-- The columns of pg_database differ from 15 and 17 on; read through jsonb one text serves every version.
SELECT
  coalesce(here.d ->> 'datlocprovider', 'c') AS provider,
  coalesce(here.d ->> 'datlocale', here.d ->> 'daticulocale') AS provider_locale,
  coalesce(template.d ->> 'datlocprovider', 'c') AS template_provider,
  (SELECT c.collctype::text FROM pg_collation c
    WHERE c.collprovider = 'c' AND c.collctype ~* '\.utf-?8$'
    ORDER BY c.collctype ~* '^C\.' DESC, c.collctype ~* '^en_US\.' DESC, c.collctype LIMIT 1) AS ctype
FROM (SELECT to_jsonb(d) AS d FROM pg_database d WHERE d.datname = current_database()) here
CROSS JOIN (SELECT to_jsonb(d) AS d FROM pg_database d WHERE d.datname = 'template0') template
