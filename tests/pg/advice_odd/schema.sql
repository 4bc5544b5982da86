-- One column of every kind. Statements end with a semicolon at the end of a line.
CREATE EXTENSION pg_trgm;
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE mood AS ENUM ('good', 'bad', 'none');
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION about(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1; END';
CREATE TABLE t (
  id int PRIMARY KEY, n positive NOT NULL, f float8, "Mixed Case" text, c char(12), v varchar(80),
  x text COLLATE "C", m mood, d date, ts timestamp, tz timestamptz, iv interval, j json, jb jsonb,
  a int[], ta text[], r int4range, p point, b box, ip inet, w tsvector, u uuid, flag boolean,
  by bytea, bits bit(8));
INSERT INTO t SELECT g, g % 400 + 1, g / 7.0, md5(g::text), 'c' || g, md5((g * 3)::text), md5((g * 5)::text),
  (ARRAY['good', 'bad', 'none'])[g % 3 + 1]::mood, '2024-01-01'::date + g % 300,
  '2024-01-01'::timestamp + g * interval '1 minute', '2024-01-01'::timestamptz + g * interval '1 minute',
  g * interval '1 second', '{}', jsonb_build_object('k', g % 500, 't', '2024-01-01'), ARRAY[g % 300],
  ARRAY['x' || g % 300], int4range(g, g + 3), point(g, g), box(point(g, g), point(g + 1, g + 1)),
  '10.0.0.0'::inet + g, to_tsvector('simple', 'w' || g % 200), gen_random_uuid(), g % 40 = 0, '\x00',
  B'00000001' FROM generate_series(1, 8000) g;
CREATE TABLE o (id int PRIMARY KEY, t_id int REFERENCES t, k text, at timestamptz);
INSERT INTO o SELECT g, g % 8000 + 1, 'k' || g, now() FROM generate_series(1, 9000) g;
CREATE TABLE part (k int, at timestamptz, v text) PARTITION BY HASH (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part_2 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO part SELECT g, now(), md5(g::text) FROM generate_series(1, 9000) g;
VACUUM ANALYZE;
