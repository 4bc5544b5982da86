-- What a node may use. work_mem_kb: kB; hash_mem_multiplier: times work_mem for hashes (13+).
SELECT
    (SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'work_mem') AS work_mem_kb,
    (SELECT setting::float8 FROM pg_catalog.pg_settings WHERE name = 'hash_mem_multiplier')
        AS hash_mem_multiplier
