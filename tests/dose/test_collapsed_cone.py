"""The collapsed-cone engine: laws of dose, and doses in water."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tailort.dose.collapsed_cone import compute, water_dose
from tailort.errors import InputError
from tailort.geometry import Grid, Image, PatientPosition
from tailort.patient.plan import Beam, ControlPoint, Plan
from tailort.physics import machine

POINT = machine("point-6MV")
GENERIC = machine("generic-6MV")


def plan_of(
    angles: tuple[float, ...] = (0.0,),
    *,
    mu: float = 100.0,
    isocentre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    position: PatientPosition = "HFS",
    jaws: tuple[tuple[float, float], tuple[float, float]] = ((-25.0, 25.0), (-25.0, 25.0)),
) -> Plan:
    beams = []
    for n, angle in enumerate(angles):
        points = [ControlPoint(at, angle, 0.0, 0.0, *jaws, None) for at in (0.0, mu)]
        beams.append(Beam(f"b{n}", n + 1, POINT.id, 6.0, True, isocentre, (), tuple(points)))
    return Plan("plan", tuple(beams), (), 1, position, "frame")


def thorax(spacing: float = 4.0, turned: bool = False) -> Image:
    """A cylinder of water with a lung on one side and a rod of tumour in it."""
    n = round(200 / spacing)
    half = (n - 1) / 2 * spacing
    grid = Grid.axial((24, n, n), (spacing,) * 3, (-half, -half, -11.5 * spacing), "frame")
    _, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    if turned:
        x, y = -x, -y
    density = np.where(np.hypot(x, y) < 90, 1.0, 0.0012)
    density = np.where(np.hypot(x - 35, y) < 35, 0.26, density)
    density = np.where(np.hypot(x - 20, y + 5) < 12, 1.03, density)
    return Image(grid, density.astype(np.float32), "g/cm3")


def dose_of(plan: Plan, density: Image) -> np.ndarray:
    body = np.ones(density.grid.shape)
    return compute(plan, density, POINT, density.grid, body=body).image.values


def test_dose_grows_with_monitor_units_and_adds_over_beams() -> None:
    ct = thorax()
    one, other = dose_of(plan_of((20.0,)), ct), dose_of(plan_of((110.0,)), ct)
    np.testing.assert_allclose(dose_of(plan_of((20.0,), mu=250.0), ct), 2.5 * one, atol=1e-6)
    np.testing.assert_allclose(dose_of(plan_of((20.0, 110.0)), ct), one + other, rtol=1e-4, atol=1e-6)


def test_shifting_patient_and_isocentre_shifts_nothing_else() -> None:
    ct = thorax()
    affine = ct.grid.affine.copy()
    affine[:3, 3] += (31.0, -12.5, 7.0)
    moved = Image(Grid(ct.grid.shape, affine, "frame"), ct.values, "g/cm3")
    shifted = dose_of(plan_of((33.0,), isocentre=(31.0, -12.5, 7.0)), moved)
    np.testing.assert_allclose(shifted, dose_of(plan_of((33.0,)), ct), atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 40.0, 90.0])
def test_a_patient_turned_prone_under_turned_beams_gets_the_same_dose(angle: float) -> None:
    """HFP with the gantry on the other side: within 0.5 % of the maximum."""
    supine = dose_of(plan_of((angle,)), thorax())
    prone = dose_of(plan_of((angle + 180.0,), position="HFP"), thorax())
    assert np.abs(prone - supine).max() < 0.005 * supine.max()


def test_turning_patient_and_beam_by_a_right_angle_turns_the_dose() -> None:
    ct = thorax()
    turned = ct.with_values(np.ascontiguousarray(np.rot90(ct.values, 1, axes=(1, 2))), "g/cm3")
    # Gantry 0 comes from -y; turning the array by rot90 takes -y to -x, which is gantry 270.
    straight, aside = dose_of(plan_of((0.0,)), ct), dose_of(plan_of((270.0,)), turned)
    assert np.abs(np.rot90(straight, 1, axes=(1, 2)) - aside).max() < 0.005 * straight.max()


def test_a_finer_grid_gives_the_same_dose() -> None:
    """2.5 mm against 1.25 mm: 1 % of the maximum where the dose is flat within 2.5 mm."""
    fine, coarse = thorax(1.25), thorax(2.5)
    small = compute(plan_of(), fine, POINT, coarse.grid, body=np.ones(coarse.grid.shape)).image.values
    exact = compute(plan_of(), fine, POINT, fine.grid, body=np.ones(fine.grid.shape)).image.values
    # The coarse grid is longer along k than the fine one: compare its middle.
    inner = exact.reshape(12, 2, 80, 2, 80, 2).mean(axis=(1, 3, 5))
    middle = small[6:18]
    steep = np.max([np.abs(np.diff(inner, axis=axis, append=0.0)) for axis in range(3)], axis=0) > 0.05 * inner.max()
    difference = np.abs(middle - inner)[2:-2]
    assert np.quantile(difference[~steep[2:-2]], 0.99) < 0.01 * inner.max()


def test_the_reference_conditions_give_their_dose() -> None:
    for beam in (GENERIC, POINT, machine("generic-10MV-FFF"), machine("point-10MV-FFF")):
        dose = water_dose(beam, (100.0, 100.0), 900.0, np.array([100.0]))
        assert dose[0] == pytest.approx(0.01, rel=1e-6)


def test_dose_falls_with_the_inverse_square_of_the_distance() -> None:
    """The same field on the skin at twice the curvature of distance: TPR is kept, the primary thins out."""
    near, far = (
        water_dose(POINT, (100 * 1000 / ssd, 100 * 1000 / ssd), ssd, np.array([15.0]))[0] for ssd in (900.0, 1100.0)
    )
    assert near / far == pytest.approx((1115.0 / 915.0) ** 2, rel=0.01)


def test_the_half_width_of_a_field_is_its_nominal_size() -> None:
    for side in (40.0, 100.0):
        at = np.arange(0.0, side, 0.25)
        dose = water_dose(GENERIC, (side, side), 900.0, np.array([100.0]), ("x", at), (2.0, 2.5))[0]
        edge = np.interp(0.5, -dose / -dose[0], at) if dose[0] < dose[-1] else np.interp(-0.5, -dose / dose[0], at)
        assert 2 * edge == pytest.approx(side, abs=1.0)


def test_lung_lets_the_penumbra_grow_and_water_behind_it_gets_more() -> None:
    n = 60
    grid = Grid.axial((41, 90, 41), (2.5, 2.5, 2.5), (-50.0, 1.25, -50.0), "frame")
    depth = grid.axes_mm()[1]
    slab = np.broadcast_to(np.where((depth > 50) & (depth < 150), 0.26, 1.0)[None, :, None], grid.shape)
    water = Image(grid, np.ones(grid.shape, dtype=np.float32), "g/cm3")
    lung = Image(grid, slab.astype(np.float32), "g/cm3")
    in_water, in_lung = dose_of(plan_of(), water), dose_of(plan_of(), lung)
    assert in_lung[20, n + 10, 20] > 1.2 * in_water[20, n + 10, 20]

    def penumbra_mm(dose: np.ndarray, row: int) -> float:
        right = dose[20, row, 20:]
        x = 2.5 * np.arange(len(right))
        return float(np.interp(-0.2, -right / right[0], x) - np.interp(-0.8, -right / right[0], x))

    assert penumbra_mm(in_lung, 40) > 1.5 * penumbra_mm(in_water, 40)


def test_wide_dose_voxels_are_computed_finely() -> None:
    ct = thorax(2.5)
    wide = Grid.axial((10, 33, 33), (6.0, 6.0, 6.0), (-96.0, -96.0, -27.0), "frame")
    dose = compute(plan_of(), ct, POINT, wide, body=np.ones(wide.shape)).image.values
    narrow = compute(plan_of(), ct, POINT, wide.with_spacing(3.0), body=np.ones((20, 66, 66))).image.values
    # The two begin at different places in the air about the tissue, which releases little.
    inner = (slice(1, -1), slice(2, -2), slice(2, -2))
    mean = narrow.reshape(10, 2, 33, 2, 33, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(dose[inner], mean[inner], atol=5e-4 * float(narrow.max()))


def test_outside_the_outline_there_is_no_dose() -> None:
    ct = thorax()
    body = np.zeros(ct.grid.shape)
    body[:, 10:40, 10:40] = 1.0
    dose = compute(plan_of(), ct, POINT, ct.grid, body=body).image.values
    assert dose[body == 0].max() == 0.0
    assert dose[body > 0].max() > 0.5


def test_a_plan_of_another_energy_is_refused() -> None:
    ct = thorax()
    other = plan_of()
    wrong = replace(other, beams=tuple(replace(beam, energy_mv=10.0) for beam in other.beams))
    with pytest.raises(InputError, match="choose a machine"):
        compute(wrong, ct, POINT, ct.grid)


def test_dose_to_water_is_dose_to_medium_times_the_ratio_of_stopping_powers() -> None:
    """Cortical bone 1.10-1.14 (Siebers 2000 has 1.116 for ICRP bone), lung and muscle 0.99-1.01, water 1."""
    n = 24
    grid = Grid.axial((12, n, n), (4.0, 4.0, 4.0), (-46.0, -46.0, -22.0), "frame")
    values = np.ones(grid.shape, dtype=np.float32)
    values[:, 6:10], values[:, 12:16], values[:, 18:21] = 1.92, 0.26, 1.05
    ct = Image(grid, values, "g/cm3")
    body = np.ones(grid.shape)
    medium, water = (compute(plan_of(), ct, POINT, grid, body=body, dose_to=to) for to in ("medium", "water"))  # type: ignore[arg-type]
    ratio = (water.image.values / medium.image.values)[6, :, 12]
    assert 1.10 <= ratio[8] <= 1.14
    assert ratio[14] == pytest.approx(1.0, abs=0.0101)
    assert ratio[19] == pytest.approx(1.0, abs=0.0101)
    np.testing.assert_allclose(ratio[[2, 11, 23]], 1.0, rtol=1e-6)
    assert (medium.engine, water.engine) == ("collapsed-cone", "collapsed-cone-water")
