"""By which versions a result was made, for run.json."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from tailort import __version__

LIBRARIES = ("numpy", "scipy", "numba", "pydicom", "pydantic", "matplotlib", "contourpy")
RESEARCH = "For research only. Not a medical device."


def run_versions() -> dict[str, Any]:
    """Versions of TailoRT, Python and the libraries, and what the result is for."""
    return {
        "tailort": __version__,
        "notice": RESEARCH,
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }
