"""Which built-in functions leave the session as it is.

The names of `builtin_functions.txt` are those whose every variant in pg_catalog is immutable or
stable, on each PostgreSQL that `scripts/builtin-functions` found when it wrote the file (15, 16 and
18); a test holds it against every server of the machine. Volatility is PostgreSQL's own promise
that a function changes nothing; what it does not cover is listed here by hand.
"""

from __future__ import annotations

from functools import cache
from importlib import resources


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Stable by the catalogue, yet they run SQL of the caller or of a view that is not in the text.
RUN_OTHER_SQL = frozenset(
    f"{what}_to_xml{kind}"
    for what in ("query", "cursor", "table", "schema", "database")
    for kind in ("", "schema", "_and_xmlschema")
)

# Volatile, and all they change is the data, another session, or nothing at all.
VOLATILE_HARMLESS = _words(
    """
    array_sample array_shuffle clock_timestamp current_query gen_random_uuid random random_normal
    timeofday uuidv4 uuidv7 bernoulli system
    pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_xact_lock
    pg_try_advisory_xact_lock_shared
    pg_notify pg_cancel_backend pg_terminate_backend pg_sleep pg_sleep_for pg_sleep_until
    pg_blocking_pids pg_safe_snapshot_blocking_pids pg_lock_status pg_stat_clear_snapshot
    pg_notification_queue_usage pg_is_in_recovery pg_is_wal_replay_paused
    pg_current_wal_lsn pg_current_wal_insert_lsn pg_current_wal_flush_lsn pg_last_wal_receive_lsn
    pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_last_committed_xact
    pg_control_checkpoint pg_control_system pg_control_init pg_control_recovery
    pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_database_size
    pg_tablespace_size pg_partition_tree pg_partition_ancestors pg_sequence_last_value
    pg_xact_status txid_status pg_xact_commit_timestamp pg_xact_commit_timestamp_origin
    RI_FKey_cascade_del RI_FKey_cascade_upd RI_FKey_check_ins RI_FKey_check_upd
    RI_FKey_noaction_del RI_FKey_noaction_upd RI_FKey_restrict_del RI_FKey_restrict_upd
    RI_FKey_setdefault_del RI_FKey_setdefault_upd RI_FKey_setnull_del RI_FKey_setnull_upd
    unique_key_recheck suppress_redundant_updates_trigger tsvector_update_trigger
    tsvector_update_trigger_column
    """
)

# They change what currval() and lastval() answer in this session, and nothing else.
DRAW_FROM_SEQUENCES = frozenset({"nextval", "setval"})
READ_SEQUENCE_STATE = frozenset({"currval", "lastval"})

# Of the harmless ones: a standby refuses them, or what they answer is another server's there.
PRIMARY_ONLY = _words(
    """
    txid_current pg_current_xact_id pg_current_wal_lsn pg_current_wal_insert_lsn
    pg_current_wal_flush_lsn pg_notify pg_cancel_backend pg_terminate_backend
    pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_xact_lock
    pg_try_advisory_xact_lock_shared pg_last_committed_xact
    """
)


@cache
def harmless() -> frozenset[str]:
    """Names of the built-in functions that leave the session as it is, sequences' state apart."""
    text = (resources.files(__package__) / "builtin_functions.txt").read_text(encoding="utf-8")
    return frozenset(text.split()) | VOLATILE_HARMLESS | DRAW_FROM_SEQUENCES | READ_SEQUENCE_STATE


@cache
def read_only_functions() -> frozenset[str]:
    """Names of the built-in functions that a standby may run in the primary's place."""
    return harmless() - DRAW_FROM_SEQUENCES - READ_SEQUENCE_STATE - PRIMARY_ONLY
