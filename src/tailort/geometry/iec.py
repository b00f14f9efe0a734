"""IEC 61217 directions of beam and patient, in the LPS coordinates of DICOM."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

PatientPosition = Literal["HFS", "HFP", "FFS", "FFP"]

# Rows: IEC fixed x (to the right of somebody facing the gantry), y (to the gantry), z (up), as LPS directions.
_FIXED_TO_LPS: dict[PatientPosition, NDArray[np.float64]] = {
    "HFS": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "HFP": np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]),
    "FFS": np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]]),
    "FFP": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
}


def beam_axes(
    gantry_deg: float, collimator_deg: float, couch_deg: float, position: PatientPosition
) -> NDArray[np.float64]:
    """Unit vectors of the IEC 61217 beam limiting device system, as rows x, y, z in LPS.

    z points from the isocentre to the source; x and y are the axes in which jaws and leaves move.
    Gantry 0 is above, gantry 90 at the left of a head-first supine patient; couch turns the patient about the vertical.

    References
    ----------
    IEC 61217:2011, figures 1 to 8.
    """
    g, c, s = np.deg2rad([gantry_deg, collimator_deg, couch_deg])
    gantry = np.array([[np.cos(g), 0, -np.sin(g)], [0, 1, 0], [np.sin(g), 0, np.cos(g)]])
    collimator = np.array([[np.cos(c), np.sin(c), 0], [-np.sin(c), np.cos(c), 0], [0, 0, 1]])
    couch = np.array([[np.cos(s), np.sin(s), 0], [-np.sin(s), np.cos(s), 0], [0, 0, 1]])
    # A vector of the fixed system has these components in the system of the turned couch.
    axes_in_couch = (collimator @ gantry) @ couch.T
    axes: NDArray[np.float64] = axes_in_couch @ _FIXED_TO_LPS[position]
    return axes
