"""The pencil kernel's dose obeys its formula, its calibration and the symmetries of space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dose_phantoms import FRAME, GENERIC, cube, field, plan, with_lung
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.dose import ENGINES, engine
from tailort.dose.pencil import compute
from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image, PatientPosition, interpolate
from tailort.patient.plan import Beam, Plan
from tailort.physics import Machine, pencil_kernel

SHARP = replace(GENERIC, leaf_transmission=0.0, jaw_transmission=0.0)


def dose_gy(treatment: Plan, density: Image, grid: Grid | None = None, machine: Machine = GENERIC) -> np.ndarray:
    where = grid or density.grid
    return compute(treatment, density, machine, where, body=np.ones(where.shape)).image.values


def on_axis(y_mm: list[float], treatment: Plan, density: Image, machine: Machine = GENERIC) -> np.ndarray:
    """Dose at points (0, y, 0), multiples of 5 mm, each a voxel of its own."""
    line = Grid.axial((1, 60, 1), (1.0, 5.0, 1.0), (0.0, -150.0, 0.0), FRAME)
    return dose_gy(treatment, density, line, machine)[0, np.rint((np.array(y_mm) + 150) / 5).astype(int), 0]


@pytest.mark.parametrize("spacing_mm", [2.5, 5.0])
def test_the_reference_conditions_give_one_centigray_a_monitor_unit(spacing_mm: float) -> None:
    # Isocentre 100 mm deep in a cube whose upper face is at y = -150, so SSD 900 mm; 100 MU.
    treatment = plan(field(isocentre_mm=(0.0, -50.0, 0.0)))
    box = cube(300.0, spacing_mm)
    assert on_axis([-50.0], treatment, box)[0] == pytest.approx(1.0, rel=0.003)
    on_grid = interpolate(Image(box.grid, dose_gy(treatment, box), "Gy"), [[0.0, -50.0, 0.0]], 0.0)[0]
    assert on_grid == pytest.approx(1.0, rel=0.003)


@pytest.mark.parametrize("side_mm", [40.0, 100.0, 200.0])
@pytest.mark.parametrize("shift_mm", [-100.0, 0.0, 150.0])
def test_central_dose_is_kernel_times_inverse_square(side_mm: float, shift_mm: float) -> None:
    # Analytic: the square field's kernel sum at the depth of the point, scaled by (SAD/s)^2; no transmission.
    half = side_mm / 2
    treatment = plan(field((-half, half), (-half, half), isocentre_mm=(0.0, shift_mm, 0.0)))
    y = np.array([-120.0, -50.0, 40.0, 130.0])
    found = on_axis(list(y), treatment, cube(), SHARP)
    kernel, depth = pencil_kernel(GENERIC.tpr20_10), (y + 150) / 10
    s = 1000 + y - shift_mm
    expected = kernel.square_field(depth, side_mm / 10 * s / 1000) * (1000 / s) ** 2
    expected *= 1.0 / float(kernel.square_field(10.0, 10.0))
    np.testing.assert_allclose(found, expected, rtol=0.005)


def test_depth_dose_of_a_ten_centimetre_field_is_that_of_two_measured_beams() -> None:
    # Mean of Siemens Artiste and Elekta Synergy at SSD 100 (photon-physics section 10), from 3 cm on; the field is
    # 10 x 10 cm at the surface, which is at the isocentre. 1.5 % of the dose at each depth.
    measured = {30: 95.0, 50: 86.5, 80: 74.4, 100: 67.0, 150: 51.05, 200: 39.0}
    treatment = plan(field(isocentre_mm=(0.0, -150.0, 0.0)))
    found = on_axis([depth - 150.0 for depth in measured], treatment, cube())
    np.testing.assert_allclose(found / found[3] * 67.0, list(measured.values()), rtol=0.015)


def test_dose_is_linear_in_monitor_units_and_adds_over_beams() -> None:
    box = cube(200.0)
    one, two = field((-20.0, 40.0), gantry_deg=30.0, mu=50.0), field((-10.0, 10.0), gantry_deg=200.0, mu=80.0)
    doubled = replace(one, control_points=tuple(replace(p, mu=2 * p.mu) for p in one.control_points))
    np.testing.assert_allclose(dose_gy(plan(doubled), box), 2 * dose_gy(plan(one), box), rtol=1e-5)
    together = dose_gy(plan(one, two), box)
    np.testing.assert_allclose(together, dose_gy(plan(one), box) + dose_gy(plan(two), box), rtol=1e-4, atol=1e-6)


@settings(max_examples=8)
@given(st.tuples(*[st.floats(-300, 300)] * 3), st.floats(0, 359))
def test_shifting_patient_and_isocentre_together_changes_nothing(
    shift: tuple[float, float, float], gantry: float
) -> None:
    here = dose_gy(plan(field((-20.0, 40.0), gantry_deg=gantry)), cube(150.0, 10.0))
    moved = cube(150.0, 10.0, shift)
    there = dose_gy(plan(field((-20.0, 40.0), gantry_deg=gantry, isocentre_mm=shift)), moved)
    np.testing.assert_allclose(there, here, atol=2e-4 * here.max())


def test_a_symmetric_field_gives_a_symmetric_dose() -> None:
    dose = dose_gy(plan(field()), cube(200.0))
    np.testing.assert_allclose(dose, dose[::-1], atol=1e-4 * dose.max())
    np.testing.assert_allclose(dose, dose[:, :, ::-1], atol=1e-4 * dose.max())
    np.testing.assert_allclose(dose, np.transpose(dose, (2, 1, 0)), atol=1e-4 * dose.max())


@pytest.mark.parametrize("gantry_deg", [90.0, 180.0, 270.0])
def test_a_cube_does_not_know_from_which_face_it_is_irradiated(gantry_deg: float) -> None:
    first = dose_gy(plan(field()), cube(200.0))
    turned = dose_gy(plan(field(gantry_deg=gantry_deg)), cube(200.0))
    # Gantry 90 of a head-first supine patient comes from his left, +x.
    back = np.rot90(turned, k=round(gantry_deg / 90), axes=(1, 2))
    np.testing.assert_allclose(back, first, atol=2e-4 * first.max())


def test_collimator_and_couch_turn_a_rectangle_as_the_standard_says() -> None:
    box = cube(200.0)
    wide = dose_gy(plan(field((-60.0, 60.0), (-20.0, 20.0))), box)
    along = np.transpose(wide, (2, 1, 0))
    for beam in (
        field((-60.0, 60.0), (-20.0, 20.0), collimator_deg=90.0),
        field((-60.0, 60.0), (-20.0, 20.0), couch_deg=90.0),
        field((-20.0, 20.0), (-60.0, 60.0)),
    ):
        np.testing.assert_allclose(dose_gy(plan(beam), box), along, atol=2e-4 * wide.max())


@pytest.mark.parametrize(
    ("position", "gantry_deg", "flip"),
    [("HFP", 180.0, (1, 1, 1)), ("FFS", 0.0, (-1, 1, -1)), ("FFP", 180.0, (-1, 1, -1))],
)
def test_other_patient_positions_are_turned_head_first_supine_ones(
    position: PatientPosition, gantry_deg: float, flip: tuple[int, int, int]
) -> None:
    # From above in HFS is from below in prone; feet first turns x and z of the same beam.
    box = cube(150.0)
    shape = {"x_mm": (-10.0, 50.0), "y_mm": (-40.0, 20.0)}
    supine = dose_gy(plan(field(**shape)), box)
    other = dose_gy(plan(field(**shape, gantry_deg=gantry_deg), position=position), box)
    k, j, i = (slice(None, None, step) for step in flip)
    np.testing.assert_allclose(other, supine[k, j, i], atol=2e-4 * supine.max())


def test_behind_lung_the_dose_is_that_at_the_radiological_depth() -> None:
    # 100 mm of 0.3 g/cm3 from 50 to 150 mm deep: the point 200 mm deep has 50 + 29.76 + 50 mm of water above it.
    treatment = plan(field())
    found = on_axis([50.0], treatment, with_lung(cube(), -100.0, 0.0, 0.3), SHARP)[0]
    kernel, s = pencil_kernel(GENERIC.tpr20_10), 1.05
    expected = float(kernel.square_field(12.976, 10.0 * s) / kernel.square_field(10.0, 10.0)) / s**2
    assert found == pytest.approx(expected, rel=0.005)


def test_the_penumbra_of_the_generic_machine_is_within_the_published_range() -> None:
    # 80 to 20 %, 10 x 10 cm, 10 cm deep, 6 MV: 6 to 7 mm (photon-physics section 7, recalled).
    line = Grid.axial((1, 1, 120), (1, 1, 0.25), (35.0, -50.0, 0.0), FRAME)
    treatment = plan(field(isocentre_mm=(0.0, -50.0, 0.0)))
    profile = dose_gy(treatment, cube(), line)[0, 0]
    x = line.axes_mm()[2]
    edge = [float(np.interp(-level, -profile, x)) for level in (0.8, 0.5, 0.2)]
    assert 6.0 < edge[2] - edge[0] < 7.0
    assert edge[1] == pytest.approx(50.0, abs=0.3)


def test_without_an_outline_lungs_get_a_dose_and_the_air_around_none() -> None:
    box = cube(200.0)
    z, y, x = np.meshgrid(*box.grid.axes_mm(), indexing="ij")
    body = x**2 + y**2 < 80**2
    lung = (x - 35) ** 2 + y**2 < 25**2
    density = box.with_values(np.where(body, np.where(lung, 0.2, 1.0), 0.001).astype(np.float32))
    dose = compute(plan(field()), density, GENERIC, box.grid).image.values
    assert (dose[~body] == 0).all()
    assert dose[lung & (np.abs(z) < 40) & (x < 40)].min() > 0.3


def test_dose_says_what_it_is() -> None:
    box = cube(100.0, 10.0)
    found = compute(replace(plan(field()), fractions=30), box, GENERIC, box.grid)
    assert (found.quantity, found.per, found.fractions, found.alpha_beta_gy) == ("physical", "fraction", 30, None)
    assert found.engine in ENGINES
    assert "not for judging plans in lung" in ENGINES[found.engine].label


def test_progress_ends_at_one() -> None:
    box, told = cube(100.0, 10.0), []
    compute(plan(field(), field(gantry_deg=90.0)), box, GENERIC, box.grid, progress=told.append)
    assert told == [0.5, 1.0]


def test_an_unknown_engine_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="pencil-nyholm"):
        engine("monte-carlo")


@pytest.mark.parametrize(
    ("change", "told"),
    [({"energy_mv": 10.0}, "10 MV"), ({"flattened": False}, "free"), ({"source_axis_distance_mm": 800.0}, "800 mm")],
)
def test_a_beam_of_another_kind_than_the_machine_is_refused(change: dict[str, float], told: str) -> None:
    box = cube(100.0, 10.0)
    beam: Beam = replace(field(), **change)
    with pytest.raises(InputError, match=told):
        compute(plan(beam), box, GENERIC, box.grid)


def test_other_frames_and_outlines_of_another_shape_are_refused() -> None:
    box = cube(100.0, 10.0)
    with pytest.raises(GeometryError, match="frame of reference"):
        compute(replace(plan(field()), frame_of_reference="9.9"), box, GENERIC, box.grid)
    with pytest.raises(GeometryError, match="outline"):
        compute(plan(field()), box, GENERIC, box.grid, body=np.ones((2, 2, 2)))


def test_an_empty_outline_gives_no_dose() -> None:
    box = cube(100.0, 10.0)
    assert (compute(plan(field()), box, GENERIC, box.grid, body=np.zeros(box.grid.shape)).image.values == 0).all()
