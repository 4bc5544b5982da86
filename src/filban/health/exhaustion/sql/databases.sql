-- How old the oldest unfrozen transaction and multixact of each database are: one row a database.
-- Ages in transactions and multixacts; settings are this server's. Columns exist from 14 on.
SELECT
  d.datname::text AS name,
  quote_ident(d.datname) AS quoted,
  d.datname = current_database() AS here,
  d.datallowconn AS connectable,
  age(d.datfrozenxid)::bigint AS xid_age,
  mxid_age(d.datminmxid)::bigint AS multixact_age
FROM pg_database d
ORDER BY xid_age DESC, name
