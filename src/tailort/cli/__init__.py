"""The command line, and each command as a Python function."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the exit status tells how it ended (docs/commands.md)."""
    from tailort.cli.app import run

    raise SystemExit(run())
