"""The tiny DICOM cases of tests/dicom and the thorax of tests/registration serve the commands too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "dicom"))
sys.path.append(str(Path(__file__).parents[1] / "registration"))
