-- The server's settings as this role may see them: one row a setting. setting is in unit.
-- Columns exist from 14 on.
SELECT
  name::text AS name,
  setting::text AS setting,
  unit::text AS unit,
  source::text AS source,
  boot_val::text AS boot_value,
  context::text AS context,
  pending_restart
FROM pg_settings
ORDER BY name
