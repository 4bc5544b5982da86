"""`python -m filban`."""

from filban.cli import main

main()
