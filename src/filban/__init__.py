"""filban: takes the PostgreSQL behind a Python service to production and proves each step."""

__version__ = "0.1.0"
