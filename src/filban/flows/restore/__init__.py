"""Restore: look first, say what it will cost, then do it and prove that it was done."""

from filban.flows.restore.look import Look, look
from filban.flows.restore.run import Restored, restore

__all__ = ["Look", "Restored", "look", "restore"]
