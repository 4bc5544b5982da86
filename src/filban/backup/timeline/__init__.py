"""WAL as files: names, page headers, history files; which stretch of which timeline is there."""
