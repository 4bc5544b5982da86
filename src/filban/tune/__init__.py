"""Settings and pool size: what is risky now, and what fits the machine and the workload."""

from filban.pg.check import Check
from filban.tune import collect
from filban.tune.checkpoints import CheckpointThresholds
from filban.tune.settings import RISKS, SettingThresholds

CHECKS: tuple[Check, ...] = (
    Check(
        "settings",
        (
            *(f"setting.{name}_off" for name in RISKS),
            "setting.table_autovacuum_off",
            "setting.pending_restart",
        ),
        SettingThresholds,
        collect.risky_settings,
    ),
    Check("checkpoints", ("checkpoint.too_frequent",), CheckpointThresholds, collect.checkpoints),
)
