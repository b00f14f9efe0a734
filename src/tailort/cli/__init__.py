"""The command line, and each command as a Python function."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the exit status tells how it ended (docs/commands.md)."""
    try:
        from tailort.cli.app import run

        status = run()
    except KeyboardInterrupt:
        status = 130
    raise SystemExit(status)
