-- $1 a marker. Whether it can be read here.
SELECT EXISTS (SELECT FROM filban_demo.heartbeat WHERE id = $1) AS seen
