"""What sessions wait for: samples of pg_stat_activity, lock trees, and recordings of both."""

from __future__ import annotations

from filban.profile.waits.collect import sample, samples
from filban.profile.waits.load import at_work, blocking, nearest, summarise, wait_class, wait_event
from filban.profile.waits.record import Recorder, recorded, span
from filban.profile.waits.report import Watched, watched
from filban.profile.waits.rows import Blocking, Load, Sample, Seen, Share, Slice

__all__ = [
    "Blocking",
    "Load",
    "Recorder",
    "Sample",
    "Seen",
    "Share",
    "Slice",
    "Watched",
    "at_work",
    "blocking",
    "nearest",
    "recorded",
    "sample",
    "samples",
    "span",
    "summarise",
    "wait_class",
    "wait_event",
    "watched",
]
