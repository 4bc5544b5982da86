"""Is a backup whole, and does the WAL after it have no hole: our own reading, any major's."""
