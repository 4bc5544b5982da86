-- $1 an index, quoted and qualified. Its bytes.
SELECT pg_relation_size($1::text::regclass) AS size_bytes
