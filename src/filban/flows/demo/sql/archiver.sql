-- What the archiver has done. Columns exist from 14 on.
SELECT archived_count, last_archived_wal, failed_count, last_failed_wal FROM pg_stat_archiver
