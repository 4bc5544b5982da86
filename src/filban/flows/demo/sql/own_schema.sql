-- What the demo needs for itself, away from the service's schema `public`. Made before the standby
-- is, so that it has the heartbeat from its first moment.
CREATE SCHEMA filban_demo;
CREATE TABLE filban_demo.heartbeat (id integer PRIMARY KEY, at timestamptz NOT NULL)
