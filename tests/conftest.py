"""Shared by all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# As the command line does, before numpy is loaded: threads of BLAS would wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core; more threads than cores only wait.
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
# Compiling a kernel on its first call takes longer than hypothesis allows an example; machines are shared.
settings.register_profile("tailort", deadline=None, derandomize=True)
settings.load_profile("tailort")
