"""A structure that lies outside the dose grid has a volume and no dose."""

from __future__ import annotations

import numpy as np

from tailort.evaluation import histograms
from tailort.geometry import Grid, Image
from tailort.patient import Dose, Structure

FRAME = "1.2.3"


def test_a_couch_beside_the_dose_grid_counts_at_0_gy_only() -> None:
    grid = Grid.axial((5, 10, 10), (3.0, 2.0, 2.0), (0.0, 0.0, 0.0), FRAME)
    dose = Dose(Image(grid, np.full(grid.shape, 2.0, np.float32), "Gy"), "physical", "course", 25, None, "test")
    corners = np.array([[0.0, 50.0], [20.0, 50.0], [20.0, 55.0], [0.0, 55.0]])
    couch = Structure("CouchInterior", "SUPPORT", tuple(np.c_[corners, np.full(4, 3.0 * k)] for k in range(5)), FRAME)
    (dvh,) = histograms([couch], dose).values()
    dose_gy, volume_cm3 = dvh.curve(0.5)
    # 20 x 5 x 15 mm.
    np.testing.assert_allclose(volume_cm3, [1.5, 0.0], rtol=1e-3)
    np.testing.assert_allclose(dose_gy, [0.0, 0.5])
