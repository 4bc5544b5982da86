-- The cluster's identity and the timeline of its last checkpoint: one row.
-- Its own file, because a managed service may have taken EXECUTE away. Columns exist from 14 on.
SELECT
  (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
  (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline
