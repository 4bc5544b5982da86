-- What became of a transaction ($1, its full id): "committed", "aborted", "in progress", or NULL when
-- it is too old to tell. One row. Columns exist from 14 on.
SELECT pg_xact_status($1::text::xid8) AS status
