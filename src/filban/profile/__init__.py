"""Where time goes: statements, logs, plans, waits."""
