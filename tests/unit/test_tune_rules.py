"""The rules about checkpoints at the edges of their thresholds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filban.tune.checkpoints import (
    CheckpointSettings,
    CheckpointThresholds,
    forced_by_wal,
    roomy_max_wal_size,
    too_frequent,
)
from filban.tune.rows import Checkpoints

GB = 1024**3
DAY = 86_400.0
DEFAULT = CheckpointSettings(GB, 300.0, 0.9)


def seen(requested: int, wal_gb: float, *, timed: int = 0, window: float = DAY) -> Checkpoints:
    return Checkpoints(timed, requested, window, wal_gb * GB, window)


@pytest.mark.parametrize(
    ("checkpoints", "expected"),
    [
        (seen(288, 1000), 1),  # as many as time alone would have made: half
        (seen(287, 1000), 0),
        (seen(1000, 100), 0),  # 100 GB of WAL fills 1 GB / 1.9 only 190 times: by hand
        (seen(9, 1000, window=3600.0), 0),
        (seen(12, 1000, window=3600.0), 1),
        (seen(12, 1000, window=3599.0), 0),
    ],
)
def test_too_frequent(checkpoints, expected):
    assert len(list(too_frequent(checkpoints, DEFAULT, CheckpointThresholds()))) == expected


def test_a_size_is_found_even_where_no_forced_checkpoint_is_allowed():
    """A threshold of 0, as filban.toml may say: no share is below half of it."""
    limits = CheckpointThresholds(checkpoint_requested_percent=0.0)
    busy = Checkpoints(1, 1000, 86_400.0, 1000.0 * GB, 86_400.0)
    assert roomy_max_wal_size(busy, DEFAULT, limits) > DEFAULT.max_wal_size_bytes


def test_where_alter_system_is_not_ours_the_value_is_advice():
    [finding] = too_frequent(
        seen(1000, 1000), DEFAULT, CheckpointThresholds(), managed_by="Amazon RDS"
    )
    assert not finding.fix.sql
    assert "max_wal_size = '" in finding.fix.advice
    assert "Amazon RDS" in finding.fix.advice


def test_statistics_that_were_never_reset():
    never = Checkpoints(0, 1000, None, 1e12, None)
    assert list(too_frequent(never, DEFAULT, CheckpointThresholds())) == []


def test_wal_counted_over_another_window_is_scaled():
    whole = Checkpoints(0, 10_000, DAY, 100.0 * GB, DAY)
    half = Checkpoints(0, 10_000, DAY, 50.0 * GB, DAY / 2)
    assert forced_by_wal(whole, GB) == forced_by_wal(half, GB)


@given(
    requested=st.integers(10, 1_000_000),
    timed=st.integers(0, 10_000),
    wal=st.floats(0.1, 1e6),
    window=st.floats(3600, 1e8),
)
def test_the_size_that_is_advised_makes_the_finding_go(requested, timed, wal, window):
    limits = CheckpointThresholds()
    now = seen(requested, wal, timed=timed, window=window)
    if list(too_frequent(now, DEFAULT, limits)):
        roomy = CheckpointSettings(roomy_max_wal_size(now, DEFAULT, limits), 300.0, 0.9)
        assert roomy.max_wal_size_bytes >= 2 * GB
        assert list(too_frequent(now, roomy, limits)) == []
