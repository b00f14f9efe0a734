"""Shared by all tests."""

from __future__ import annotations

from hypothesis import settings

# Compiling a kernel on its first call takes longer than hypothesis allows an example; machines are shared.
settings.register_profile("tailort", deadline=None, derandomize=True)
settings.load_profile("tailort")
