-- What runs what: an object (user_kind, user_id) and a function, type or relation that it uses.
-- kinds: f function, t type, r reading a relation, w writing to it, o operator, d anything in this
-- database, x what cannot be judged (the wrapper of a foreign table), g a type of an operand or
-- argument that no value gets by itself.
-- builtin: the name of a used function that came with PostgreSQL, else "". Only uses of types and
-- relations that did not come with PostgreSQL are listed. node_tree columns name functions by oid.
WITH expressions (user_kind, user_id, tree) AS (
    SELECT CASE WHEN a.attgenerated = '' THEN 'w' ELSE 'r' END, d.adrelid, d.adbin::text
    FROM pg_catalog.pg_attrdef d
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    UNION ALL
    SELECT 'w', c.conrelid, c.conbin::text
    FROM pg_catalog.pg_constraint c WHERE c.conrelid <> 0 AND c.conbin IS NOT NULL
    UNION ALL
    SELECT 't', c.contypid, c.conbin::text
    FROM pg_catalog.pg_constraint c WHERE c.contypid >= 16384 AND c.conbin IS NOT NULL
    UNION ALL
    SELECT 't', t.oid, t.typdefaultbin::text
    FROM pg_catalog.pg_type t WHERE t.oid >= 16384 AND t.typdefaultbin IS NOT NULL
    UNION ALL
    SELECT 'r', p.polrelid, concat(p.polqual::text, p.polwithcheck::text)
    FROM pg_catalog.pg_policy p
    UNION ALL
    SELECT CASE r.ev_type WHEN '1' THEN 'r' ELSE 'w' END, r.ev_class,
           concat(r.ev_qual::text, r.ev_action::text)
    FROM pg_catalog.pg_rewrite r WHERE r.oid >= 16384
    UNION ALL
    SELECT 'w', i.indrelid, concat(i.indexprs::text, i.indpred::text)
    FROM pg_catalog.pg_index i WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
    UNION ALL
    SELECT 'w', p.partrelid, p.partexprs::text
    FROM pg_catalog.pg_partitioned_table p WHERE p.partexprs IS NOT NULL
    UNION ALL
    SELECT 'w', t.tgrelid, t.tgqual::text
    FROM pg_catalog.pg_trigger t WHERE t.tgqual IS NOT NULL
    UNION ALL
    SELECT 'f', p.oid, concat(p.prosqlbody::text, p.proargdefaults::text)
    FROM pg_catalog.pg_proc p
    WHERE p.oid >= 16384 AND (p.prosqlbody IS NOT NULL OR p.proargdefaults IS NOT NULL)
),
mentions (user_kind, user_id, tree, field, id) AS (
    SELECT e.user_kind, e.user_id, e.tree, m[1], m[2]::oid
    FROM expressions e,
         regexp_matches(
             e.tree, ':(\w*funcid|\w*fnoid|tsmhandler|\w*type|\w*typeid|relid) (\d+)', 'g'
         ) m
),
edges (user_kind, user_id, used_kind, used_id) AS (
    SELECT user_kind, user_id,
           CASE WHEN field ~ 'func|fnoid|handler' THEN 'f' WHEN field = 'relid' THEN 'r' ELSE 't' END,
           id
    FROM mentions
    WHERE id > 0
    UNION ALL
    -- Writing to a view writes to its tables; rules and function bodies may write to what they name.
    SELECT CASE user_kind WHEN 'r' THEN 'w' ELSE user_kind END, user_id, 'w', id
    FROM mentions
    WHERE field = 'relid' AND id > 0
      AND (user_kind IN ('r', 'w') OR tree ~ ':commandType [2-6] ')
    UNION ALL
    SELECT 'w', t.tgrelid, 'f', t.tgfoid FROM pg_catalog.pg_trigger t
    UNION ALL
    SELECT 'r', f.ftrelid, 'x', f.ftrelid FROM pg_catalog.pg_foreign_table f
    UNION ALL
    SELECT 'r', a.attrelid, 't', a.atttypid
    FROM pg_catalog.pg_attribute a
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384
    UNION ALL
    -- A delete or update of what is referenced writes to what refers to it.
    SELECT 'w', c.confrelid, 'w', c.conrelid
    FROM pg_catalog.pg_constraint c
    WHERE c.contype = 'f' AND (c.confupdtype IN ('c', 'n', 'd') OR c.confdeltype IN ('c', 'n', 'd'))
    UNION ALL
    SELECT k.user_kind, i.inhparent, k.user_kind, i.inhrelid
    FROM pg_catalog.pg_inherits i, (VALUES ('r'), ('w')) k (user_kind)
    UNION ALL
    SELECT 'r', c.oid, 'f', a.amhandler
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.oid >= 16384
    WHERE c.relkind IN ('r', 'p', 'm')
    UNION ALL
    -- What foreign keys and exclusion constraints compare with.
    SELECT 'w', r.id, 'f', o.oprcode
    FROM pg_catalog.pg_constraint c
    CROSS JOIN unnest(c.conpfeqop || c.conppeqop || c.conffeqop || c.conexclop) x (id)
    JOIN pg_catalog.pg_operator o ON o.oid = x.id AND o.oid >= 16384
    CROSS JOIN unnest(ARRAY[c.conrelid, c.confrelid]) r (id)
    WHERE r.id <> 0
    UNION ALL
    -- Comparing and hashing with an operator class of one's own, in an index or by default.
    SELECT 'r', k.relation, 'f', p.amproc
    FROM (SELECT i.indrelid, unnest(i.indclass) FROM pg_catalog.pg_index i
          UNION ALL
          SELECT p.partrelid, unnest(p.partclass) FROM pg_catalog.pg_partitioned_table p
         ) k (relation, opclass)
    JOIN pg_catalog.pg_opclass o ON o.oid = k.opclass
    JOIN pg_catalog.pg_amproc p ON p.amprocfamily = o.opcfamily AND p.oid >= 16384
    UNION ALL
    SELECT CASE WHEN o.opcintype >= 16384 THEN 't' ELSE 'd' END, o.opcintype, 'f', p.amproc
    FROM pg_catalog.pg_opclass o
    JOIN pg_catalog.pg_amproc p ON p.amprocfamily = o.opcfamily AND p.oid >= 16384
    WHERE o.opcintype >= 16384 OR o.opcdefault
    UNION ALL
    SELECT CASE WHEN o.opcintype >= 16384 THEN 't' ELSE 'd' END, o.opcintype, 'f', r.oprcode
    FROM pg_catalog.pg_opclass o
    JOIN pg_catalog.pg_amop m ON m.amopfamily = o.opcfamily AND m.oid >= 16384
    JOIN pg_catalog.pg_operator r ON r.oid = m.amopopr
    WHERE o.opcintype >= 16384 OR o.opcdefault
    UNION ALL
    SELECT 't', t.oid, 'f', f.id
    FROM pg_catalog.pg_type t,
         unnest(ARRAY[t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout,
                      t.typsubscript]::oid[]) f (id)
    WHERE t.oid >= 16384 AND f.id <> 0
    UNION ALL
    SELECT 't', t.oid, 't', u.id
    FROM pg_catalog.pg_type t, unnest(ARRAY[t.typelem, t.typbasetype]) u (id)
    WHERE t.oid >= 16384 AND u.id <> 0
    UNION ALL
    SELECT 't', t.oid, 't', a.atttypid
    FROM pg_catalog.pg_type t
    JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0
    WHERE t.typrelid <> 0 AND NOT a.attisdropped AND a.atttypid >= 16384
    UNION ALL
    SELECT 't', r.id, u.kind, u.id
    FROM pg_catalog.pg_range g,
         unnest(ARRAY[g.rngtypid, g.rngmultitypid]) r (id),
         LATERAL (VALUES ('t', g.rngsubtype), ('f', g.rngcanonical::oid),
                         ('f', g.rngsubdiff::oid)) u (kind, id)
    WHERE g.rngtypid >= 16384 AND u.id <> 0
    UNION ALL
    SELECT CASE WHEN u.id >= 16384 THEN 't' ELSE 'd' END, u.id, 'f', c.castfunc
    FROM pg_catalog.pg_cast c, unnest(ARRAY[c.castsource, c.casttarget]) u (id)
    WHERE c.oid >= 16384 AND c.castfunc <> 0
      AND (u.id >= 16384 OR (c.castsource < 16384 AND c.casttarget < 16384))
    UNION ALL
    SELECT 'o', o.oid, 'f', f.id
    FROM pg_catalog.pg_operator o,
         unnest(ARRAY[o.oprcode, o.oprrest, o.oprjoin]::oid[]) f (id)
    WHERE o.oid >= 16384 AND f.id <> 0
    UNION ALL
    SELECT 'f', p.oid, 't', t.id
    FROM pg_catalog.pg_proc p,
         unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]) || p.prorettype) t (id)
    WHERE p.oid >= 16384
    UNION ALL
    SELECT x.kind, x.id, 'g', x.type
    FROM (SELECT 'f', p.oid, unnest(p.proargtypes) FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
          UNION ALL
          SELECT 'o', o.oid, unnest(ARRAY[o.oprleft, o.oprright])
          FROM pg_catalog.pg_operator o WHERE o.oid >= 16384) x (kind, id, type)
    WHERE x.type >= 16384
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_cast c
                      WHERE c.casttarget = x.type AND c.castcontext = 'i' AND c.castsource < 16384)
    UNION ALL
    SELECT 'f', p.oid, 'f', p.prosupport
    FROM pg_catalog.pg_proc p WHERE p.oid >= 16384 AND p.prosupport <> 0
    UNION ALL
    SELECT 'f', a.aggfnoid, 'f', f.id
    FROM pg_catalog.pg_aggregate a,
         unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                      a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]) f (id)
    WHERE a.aggfnoid >= 16384 AND f.id <> 0
    UNION ALL
    SELECT 'd', 0, 'f', f.id
    FROM pg_catalog.pg_ts_template t, unnest(ARRAY[t.tmplinit, t.tmpllexize]::oid[]) f (id)
    WHERE t.oid >= 16384 AND f.id <> 0
    UNION ALL
    SELECT 'd', 0, 'f', f.id
    FROM pg_catalog.pg_ts_parser t,
         unnest(ARRAY[t.prsstart, t.prstoken, t.prsend, t.prsheadline, t.prslextype]::oid[]) f (id)
    WHERE t.oid >= 16384 AND f.id <> 0
    UNION ALL
    SELECT 'd', 0, 'f', c.conproc
    FROM pg_catalog.pg_conversion c WHERE c.oid >= 16384 AND c.condefault
)
SELECT DISTINCT
    e.user_kind,
    CASE WHEN e.user_kind = 'd' THEN 0 ELSE e.user_id END::bigint AS user_id,
    e.used_kind,
    e.used_id::bigint AS used_id,
    coalesce(p.proname::text, '') AS builtin
FROM edges e
LEFT JOIN pg_catalog.pg_proc p ON e.used_kind = 'f' AND p.oid = e.used_id AND p.oid < 16384
WHERE e.used_kind = 'f' OR e.used_id >= 16384
