-- Under which search_path the applications of this database work, as far as the catalogue says: one row.
-- configured: ALTER DATABASE … SET search_path, else that of the role most of whose settings are here, else NULL.
-- From 14 on.
SELECT (
  SELECT substr(c.setting, length('search_path=') + 1)
  FROM pg_db_role_setting s
  CROSS JOIN LATERAL unnest(s.setconfig) AS c (setting)
  WHERE c.setting LIKE 'search\_path=%'
    AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  ORDER BY s.setrole = 0 DESC, s.setdatabase = 0, s.setrole LIMIT 1
) AS configured
