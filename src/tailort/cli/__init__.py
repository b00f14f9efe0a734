"""The command line, and each command as a Python function."""

from __future__ import annotations

import os

# Products of vectors are too short to be worth a thread of BLAS: its threads wait for each other, and where other
# programs run a plan takes three times as long. Our own kernels have threads of their own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Run the command line; the exit status tells how it ended (docs/commands.md)."""
    try:
        from tailort.cli.app import run

        status = run()
    except KeyboardInterrupt:
        status = 130
    raise SystemExit(status)
