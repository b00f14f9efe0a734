"""A block of water with a body, a tumour, a cord and an oesophagus, and the start of a protocol that treats it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dicom_cases as d
import numpy as np
from pydicom.dataset import Dataset

PLANES = tuple(float(z) for z in d.axes()[2])
EXTERNAL = ("External", "EXTERNAL", d.closed(*PLANES, half=9.0))
TUMOUR = ("GTVp", "GTV", d.closed(-7.5, -4.5, -1.5, 1.5, 4.5, half=3.0))
CORD = ("SpinalCord", "ORGAN", d.closed(-4.5, -1.5, 1.5, half=1.5, centre=(5.0, 5.0)))
OESOPHAGUS = ("Esophagus", "ORGAN", d.closed(-4.5, -1.5, 1.5, half=1.5, centre=(-5.0, 5.0)))
OESOPHAGUS_IN_TUMOUR = ("Esophagus", "ORGAN", d.closed(-4.5, -1.5, 1.5, half=2.0))
PROTOCOL = """
id: own
version: "1"
title: A protocol of one's own
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV_5000, dose_gy: 50, fractions: 25}
targets:
  - {name: PTV_5000, role: PTV, of: [GTVp], then: [{expand: {radial_mm: 2, craniocaudal_mm: 2}}]}
technique: {kind: imrt, beams: 3}
limits:"""


def protocol(limits: str) -> str:
    """A protocol of 50 Gy in 25 fractions to the tumour and 2 mm around it, and these lines, a limit each."""
    return PROTOCOL + limits


def slices(stored: int = 1024, **told: Any) -> list[Dataset]:
    """A CT that holds one number in every voxel, stored with an intercept of -1024: water, unless told otherwise."""
    made = d.image_slices(**told)
    for ds in made:
        ds.PixelData = np.full(ds.Rows * ds.Columns, stored, "<u2").tobytes()
    return made


def case(folder: Path, rois: Iterable[Any], *objects: Dataset, stored: int = 1024) -> Path:
    """The folder, with that CT, these structures and what else is to lie in it."""
    return d.write(folder, *slices(stored), d.structure_set(list(rois)), *objects)
