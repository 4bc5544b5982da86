-- The names that ALTER DATABASE and ALTER ROLE need for this session's database and role, quoted:
-- one row. Columns exist from 14 on.
SELECT
  quote_ident(current_database()) AS database_quoted,
  quote_ident(session_user) AS role_quoted
