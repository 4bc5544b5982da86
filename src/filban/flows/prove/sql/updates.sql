-- The rows that this transaction has updated until now, and how many of them heap-only (HOT): one row.
SELECT
  coalesce(sum(n_tup_upd), 0)::bigint AS updated,
  coalesce(sum(n_tup_hot_upd), 0)::bigint AS hot
FROM pg_stat_xact_user_tables
