"""One Report, three ways to show it: `terminal`, `json`, `html`. Imported only by the doors."""
