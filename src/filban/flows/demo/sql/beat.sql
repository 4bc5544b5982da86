-- Writes the next marker. One row: its id.
INSERT INTO filban_demo.heartbeat
SELECT coalesce(max(id), 0) + 1, clock_timestamp() FROM filban_demo.heartbeat
RETURNING id
