"""Shared by all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# As the command line does, before numpy is loaded: threads of BLAS would wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Compiling a kernel on its first call takes longer than hypothesis allows an example; machines are shared.
settings.register_profile("tailort", deadline=None, derandomize=True)
settings.load_profile("tailort")
