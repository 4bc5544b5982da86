-- One row: a text that changes whenever an object whose code a statement may run is created,
-- changed or dropped. Every change of a catalogue row gives it a new xmin; temporary objects do not
-- count, they are visible in one session and only after a CREATE in it.
SELECT concat_ws(
    ' ',
    (SELECT count(*) || '+' || coalesce(sum(hashtext(p.xmin::text || p.oid)), 0)
     FROM pg_catalog.pg_proc p WHERE p.oid >= 16384),
    -- Not by xmin: TRUNCATE and REFRESH change the row, and nothing that counts here.
    (SELECT count(*) || '+' || coalesce(sum(hashtext(concat_ws(
        ' ', c.oid, c.relname, c.relnamespace, c.relkind, c.relam, c.relnatts))), 0)
     FROM pg_catalog.pg_class c
     WHERE c.oid >= 16384 AND c.relpersistence <> 't' AND c.relkind NOT IN ('i', 'I', 't')),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(t.xmin::text || t.oid)), 0)
     FROM pg_catalog.pg_type t WHERE t.oid >= 16384 AND t.typrelid = 0 AND t.typelem = 0),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_trigger x
     JOIN pg_catalog.pg_class c ON c.oid = x.tgrelid AND c.relpersistence <> 't'),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_rewrite x
     JOIN pg_catalog.pg_class c ON c.oid = x.ev_class AND c.relpersistence <> 't'
     WHERE x.oid >= 16384),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_policy x),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_attrdef x
     JOIN pg_catalog.pg_class c ON c.oid = x.adrelid AND c.relpersistence <> 't'),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_constraint x
     LEFT JOIN pg_catalog.pg_class c ON c.oid = x.conrelid
     WHERE x.oid >= 16384 AND c.relpersistence IS DISTINCT FROM 't'),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.indexrelid)), 0)
     FROM pg_catalog.pg_index x
     JOIN pg_catalog.pg_class c ON c.oid = x.indrelid AND c.relpersistence <> 't'
     WHERE x.indexrelid >= 16384),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.inhrelid)), 0)
     FROM pg_catalog.pg_inherits x
     JOIN pg_catalog.pg_class c ON c.oid = x.inhrelid AND c.relpersistence <> 't'),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_operator x WHERE x.oid >= 16384),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_cast x WHERE x.oid >= 16384),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_amproc x WHERE x.oid >= 16384),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_amop x WHERE x.oid >= 16384),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.aggfnoid::oid)), 0)
     FROM pg_catalog.pg_aggregate x WHERE x.aggfnoid::oid >= 16384),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_ts_template x WHERE x.oid >= 16384),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_ts_parser x WHERE x.oid >= 16384),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_conversion x WHERE x.oid >= 16384),
    (SELECT count(*) || '+' || coalesce(sum(hashtext(x.xmin::text || x.oid)), 0)
     FROM pg_catalog.pg_namespace x WHERE x.oid >= 16384 AND x.nspname !~ '^pg_(toast_)?temp_')
) AS version
