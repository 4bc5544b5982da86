-- Statements that make a clone quiet: prepared transactions of this database are rolled back, event triggers disabled.
SELECT format('ROLLBACK PREPARED %L', x.gid) AS sql
FROM pg_prepared_xacts x
WHERE x.database = current_database()
UNION ALL
SELECT format('ALTER EVENT TRIGGER %I DISABLE', e.evtname)
FROM pg_event_trigger e
WHERE e.evtenabled <> 'D'
