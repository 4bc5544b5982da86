"""The news database of the demo: its tables, its text, its traffic."""
