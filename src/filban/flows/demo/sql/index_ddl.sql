-- $1 schema, $2 table, $3 columns, $4 their directions ("" or " DESC"). One row: the SQL that makes
-- an index CONCURRENTLY and the SQL that removes it, every name quoted by the server.
WITH named AS (
  -- A name of 59 bytes and "_idx" is the longest there is: 63
  SELECT left($2::text || '_' || array_to_string($3::text[], '_'), 59) || '_idx' AS name
)
SELECT
  name,
  format('CREATE INDEX CONCURRENTLY %I ON %I.%I (%s)', name, $1::text, $2::text, (
    SELECT string_agg(format('%I%s', k.col, k.direction), ', ' ORDER BY k.at)
    FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS k(col, direction, at)
  )) AS create_sql,
  format('DROP INDEX CONCURRENTLY %I.%I', $1::text, name) AS drop_sql,
  format('%I.%I', $1::text, name) AS qualified
FROM named
