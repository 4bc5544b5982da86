"""Clean-aware reset: only a session that something may have changed is reset."""

from filban.pool.clean.judge import Judge

__all__ = ["Judge"]
