"""Shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# As the command line does, before numpy is loaded: threads of BLAS would wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core; more threads than cores only wait.
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
# Compiling a kernel on its first call takes longer than hypothesis allows an example; machines are shared.
settings.register_profile("tailort", deadline=None, derandomize=True)
settings.load_profile("tailort")

# Files that take minutes: what is begun last, another core waits for.
LONGEST = (
    "workflow/test_demo.py",
    "workflow/test_real_plans.py",
    "workflow/test_techniques.py",
    "cli/test_bad_input.py",
    "workflow/test_trading.py",
    "workflow/test_validating.py",
    "cli/test_commands.py",
    "quality/test_code.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    rank = {Path(__file__).parent / name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
