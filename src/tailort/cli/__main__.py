"""`python -m tailort.cli` is the command `tailort`."""

from tailort.cli import main

main()
