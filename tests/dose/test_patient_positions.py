"""A beam meets the same tissue however the patient lies: positions, couch and gantry turn with the patient.

The patient has no symmetry: lung on one side in the back, bone in front, an air channel, a skin that slants. Equal
beams are found by hand from IEC 61217: in each position the table gives where x (right of a person who faces the
gantry), y (to the gantry) and z (up) point in the patient.
"""

from __future__ import annotations

import numpy as np
import pytest
from dose_phantoms import FRAME, GENERIC, field, plan

from tailort.dose import engine
from tailort.geometry import Grid, Image, PatientPosition
from tailort.patient.plan import Plan

SIDE, SPACING = 32, 5.0
FIELD = {"x_mm": (-15.0, 40.0), "y_mm": (-30.0, 20.0)}
ISOCENTRE = (4.0, -6.0, 9.0)


def patient() -> Image:
    """Return a patient of water, lung, bone and air in a cube of voxels."""
    grid = Grid.axial((SIDE,) * 3, (SPACING,) * 3, (-(SIDE - 1) / 2 * SPACING,) * 3, FRAME)
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    values = np.full(grid.shape, 0.0012)
    values[(y > -60 + 0.2 * x + 0.1 * z) & (y < 70) & (abs(x + 0.1 * z) < 70)] = 1.0
    values[(x > 10) & (x < 55) & (y > -10) & (y < 50) & (z > -40)] = 0.26
    values[(x + 20) ** 2 + (y + 20) ** 2 + (z - 10) ** 2 < 20**2] = 1.8
    values[(x + 5) ** 2 + (y - 30) ** 2 < 8**2] = 0.0012
    return Image(grid, values.astype(np.float32), "g/cm3")


def dose_gy(treatment: Plan, density: Image, name: str = "pencil-nyholm") -> np.ndarray:
    everywhere = np.ones(density.grid.shape)
    return engine(name).compute(treatment, density, GENERIC, density.grid, body=everywhere).image.values


def agree(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=0.005 * expected.max())


@pytest.mark.parametrize("name", ["pencil-nyholm", "collapsed-cone"])
@pytest.mark.parametrize("gantry_deg", [0.0, 55.0, 250.0])
def test_prone_with_the_gantry_opposite_is_supine(gantry_deg: float, name: str) -> None:
    supine = dose_gy(
        plan(field(**FIELD, isocentre_mm=ISOCENTRE, gantry_deg=gantry_deg, collimator_deg=20.0)), patient(), name
    )
    turned = field(**FIELD, isocentre_mm=ISOCENTRE, gantry_deg=(gantry_deg + 180.0) % 360.0, collimator_deg=20.0)
    agree(dose_gy(plan(turned, position="HFP"), patient(), name), supine)
    # The law can fail: without turning the gantry it is another dose.
    same = field(**FIELD, isocentre_mm=ISOCENTRE, gantry_deg=gantry_deg, collimator_deg=20.0)
    assert np.abs(dose_gy(plan(same, position="HFP"), patient(), name) - supine).max() > 0.2 * supine.max()


@pytest.mark.parametrize("gantry_deg", [0.0, 55.0, 250.0])
@pytest.mark.parametrize(("position", "mirrored"), [("FFS", 360.0), ("FFP", 540.0)])
def test_feet_first_with_gantry_and_collimator_turned_is_head_first(
    position: PatientPosition, mirrored: float, gantry_deg: float
) -> None:
    # Feet first turns left and right about, so the gantry goes the other way round, and head and feet, so the
    # collimator turns by 180 degrees.
    head_first = dose_gy(
        plan(field(**FIELD, isocentre_mm=ISOCENTRE, gantry_deg=gantry_deg, collimator_deg=20.0)), patient()
    )
    turned = field(**FIELD, isocentre_mm=ISOCENTRE, gantry_deg=(mirrored - gantry_deg) % 360.0, collimator_deg=200.0)
    agree(dose_gy(plan(turned, position=position), patient()), head_first)


def upright(values: np.ndarray) -> np.ndarray:
    """Turn about the vertical as a couch at 90 degrees does: what was at (x, z) comes to (-z, x)."""
    return np.ascontiguousarray(values.transpose(2, 1, 0)[:, :, ::-1])


def rolled(values: np.ndarray) -> np.ndarray:
    """Turn about the patient's length as the gantry goes from 0 to 90: what was at (x, y) comes to (-y, x)."""
    return np.ascontiguousarray(values.transpose(0, 2, 1)[:, :, ::-1])


@pytest.mark.parametrize("gantry_deg", [0.0, 55.0, 250.0])
def test_a_couch_at_90_degrees_is_a_patient_turned_about_the_vertical(gantry_deg: float) -> None:
    x, y, z = ISOCENTRE
    on_couch = dose_gy(plan(field(**FIELD, isocentre_mm=ISOCENTRE, gantry_deg=gantry_deg, couch_deg=90.0)), patient())
    turned = patient().with_values(upright(patient().values))
    agree(dose_gy(plan(field(**FIELD, isocentre_mm=(-z, y, x), gantry_deg=gantry_deg)), turned), upright(on_couch))


@pytest.mark.parametrize("gantry_deg", [0.0, 55.0, 250.0])
def test_patient_and_gantry_turn_together(gantry_deg: float) -> None:
    x, y, z = ISOCENTRE
    before = dose_gy(plan(field(**FIELD, isocentre_mm=ISOCENTRE, gantry_deg=gantry_deg)), patient())
    turned = patient().with_values(rolled(patient().values))
    after = field(**FIELD, isocentre_mm=(-y, x, z), gantry_deg=(gantry_deg + 90.0) % 360.0)
    agree(dose_gy(plan(after), turned), rolled(before))
