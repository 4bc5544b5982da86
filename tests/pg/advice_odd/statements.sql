-- Statements, one a line.
SELECT DISTINCT ON (n) * FROM t ORDER BY n, tz DESC
SELECT * FROM t WHERE n = 5 ORDER BY lower(v) DESC NULLS LAST LIMIT 5
SELECT * FROM t ORDER BY j::text LIMIT 5
SELECT * FROM t ORDER BY p <-> point '(1,1)' LIMIT 5
SELECT * FROM t ORDER BY abs(n - 5) LIMIT 5
SELECT n, count(*) FROM t GROUP BY ROLLUP (n, m)
SELECT * FROM t JOIN o ON o.t_id = t.id AND lower(o.k) = t.v
SELECT * FROM t, LATERAL (SELECT * FROM o WHERE o.t_id = t.id ORDER BY at DESC LIMIT 1) s WHERE t.n = 5
SELECT * FROM part WHERE lower(v) = 'a' ORDER BY at LIMIT 3
SELECT * FROM part p JOIN t ON t.id = p.k WHERE p.at > now()
WITH RECURSIVE x AS (SELECT id FROM o WHERE id = 1 UNION ALL SELECT o.id FROM o JOIN x ON o.t_id = x.id) SELECT * FROM x
SELECT * FROM t WHERE n = 5 UNION ALL SELECT * FROM t WHERE id = 7 ORDER BY 1
SELECT * FROM t TABLESAMPLE system (1) WHERE n = 5
SELECT max(tz), min(n) FROM t
SELECT max(twice(n)) FROM t
SELECT *, rank() OVER (PARTITION BY n ORDER BY tz) FROM t WHERE m = 'good'
UPDATE t SET n = 5 FROM o WHERE o.t_id = t.id AND o.k = 'k5'
DELETE FROM o USING t WHERE t.id = o.t_id AND t.v = 'a'
INSERT INTO o SELECT id, n, v, tz FROM t WHERE m = 'bad' ON CONFLICT (id) DO UPDATE SET k = excluded.k
SELECT * FROM ROWS FROM (generate_series(1, 3)) g, t WHERE t.n = g
SELECT * FROM (VALUES (1), (2)) v (i) JOIN t ON t.n = v.i
SELECT 1 FROM t WHERE id = $1 AND n > ALL ($2)
SELECT x.* FROM t AS x (renamed) WHERE x.renamed = 5
