"""Bring a backup back: targets, what can be reached, recovery, and the proof of it."""
