-- $1 article. Somebody has read it.
UPDATE articles
SET metadata = jsonb_set(metadata, '{reads}', to_jsonb(coalesce((metadata ->> 'reads')::bigint, 0) + 1))
WHERE id = $1
