-- Conditions on t, one a line.
n = 5
f = 3.5
f = 3.5::numeric
"Mixed Case" = 'a'
lower("Mixed Case") = 'a'
c = 'c5'
c::text = 'c5'
v = 'a'
v LIKE 'abc%'
v ILIKE '%abcd%'
x LIKE 'abc%'
v ~ '^abc'
v ~* 'abcd.f'
v % 'abcdefgh'
m = 'good'
m > 'good'
d = '2024-03-03'
d::timestamptz > '2024-03-03'
ts::date = '2024-01-03'
date_trunc('day', ts) = '2024-01-03'
date_trunc('day', tz) = '2024-01-03'
tz::date = '2024-01-03'
extract(day FROM tz) = 3
extract(day FROM ts) = 3
extract(epoch FROM ts) > 5
tz AT TIME ZONE 'UTC' > '2024-01-03'
(now() - tz) < interval '1 day'
CURRENT_DATE - d < 5
age(tz) < interval '1 day'
to_char(ts, 'YYYY') = '2024'
tz + interval '1 day' > now()
ts + iv > '2024-02-02'
iv > '1 hour'
d + 3 > '2024-03-03'
n + 1 = 5
n * 2 > 700
j ->> 'k' = 'a'
jb ->> 'k' = '5'
(jb ->> 'k')::int = 5
(jb ->> 't')::date = '2024-01-01'
jb @> '{"k": 5}'
jb ? 'k'
jb ?| ARRAY['k']
jb @? '$.k ? (@ == 5)'
jb -> 'k' = '5'
jb #>> '{a,b}' = 'c'
jb['k'] = '5'
j::text = 'a'
a @> ARRAY[5]
a && ARRAY[5]
a[1] = 5
5 = ANY(a)
ta @> ARRAY['x5']
array_length(a, 1) = 5
cardinality(a) > 3
r @> 5
r && int4range(3, 5)
lower(r) = 5
p <@ box '((1,1),(2,2))'
p <-> point '(1,1)' < 3
p ~= point '(1,1)'
b && box '((1,1),(2,2))'
ip << '10.0.0.0/24'
ip = '10.0.0.5'
ip > '10.0.0.5'
w @@ to_tsquery('simple', 'w5')
w @@ 'w5'
to_tsvector(v) @@ to_tsquery('x')
to_tsvector('simple', v) @@ to_tsquery('simple', 'x')
to_tsvector('simple', coalesce(v, '') || ' ' || "Mixed Case") @@ to_tsquery('simple', 'x')
v || x = 'ab'
id || v = 'ab'
u = gen_random_uuid()
u = '00000000-0000-0000-0000-000000000001'
flag
NOT flag
flag IS TRUE
flag IS NOT TRUE
flag = true AND n = 5
v IS NULL AND n = 5
v IS NOT NULL AND n = 5
by = '\x00'
bits = B'00000001'
twice(n) = 8
about(n) = 8
random() < 0.5 AND n = 5
CASE WHEN n = 1 THEN 2 ELSE 3 END = 2
coalesce(n, 0) = 5
nullif(n, 3) = 5
greatest(n, 3) = 5
substring(v FROM 1 FOR 3) = 'abc'
left(v, 3) = 'abc'
position('a' IN v) = 3
trim(v) = 'a'
v COLLATE "C" > 'z'
(n, id) > (390, 5)
(n, v) = (5, 'a')
n BETWEEN 5 AND 7
n IN (1, 2)
n NOT IN (1, 2)
n <> 5
n IS DISTINCT FROM 5
n = 1 OR id = 5
n = 1 OR v = 'a' OR m = 'bad'
(n = 1 AND v = 'a') OR id = 3
n = (SELECT max(id) FROM o)
n = ANY (SELECT id FROM o)
EXISTS (SELECT FROM o WHERE o.t_id = t.id AND o.k = 'k5')
t.* IS NOT NULL
ctid = '(0,1)'
tableoid = 5
md5(v) = 'a'
abs(n) = 5
-n = -5
