"""What the beam meets: body, bolus and couch with the CT's density or a given one, and air elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.dose.fan import Fan
from tailort.errors import GeometryError, InputError, MissingStructureError
from tailort.geometry import Grid, Image, average
from tailort.patient import Structure, StructureSet
from tailort.patient.plan import BeamSetup
from tailort.physics import DensityTable, relative_electron_density
from tailort.workflow.densities import body_density

FRAME = "1.2.3"
GRID = Grid.axial((10, 40, 40), (3.0, 2.0, 2.0), (-39.0, -39.0, -13.5), FRAME)
PLANES = GRID.axes_mm()[0]
TABLE = "schneider2000"
WHOLE = DensityTable("line", "", (-1000.0, 1000.0), (0.0, 2.0), ("", ""))


def box(name: str, role: str, x: tuple[float, float], y: tuple[float, float], planes: np.ndarray = PLANES) -> Structure:
    corners = np.array([[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]])
    return Structure(name, role, tuple(np.c_[corners, np.full(4, z)] for z in planes), FRAME)


BODY = box("External", "EXTERNAL", (-20.0, 20.0), (-20.0, 20.0))
COUCH = box("CouchSurface", "SUPPORT", (-30.0, 30.0), (24.0, 30.0))
BOLUS = box("Bolus", "BOLUS", (-10.0, 10.0), (-26.0, -20.0))


def ct(hu: float = 0.0, around: float = -1000.0, **structures_hu: float) -> Image:
    """A CT of the body, with further boxes."""
    _, y, x = np.meshgrid(*GRID.axes_mm(), indexing="ij")
    values = np.where((abs(x) < 20) & (abs(y) < 20), hu, around)
    if "couch" in structures_hu:
        values = np.where((abs(x) < 30) & (y > 24) & (y < 30), structures_hu["couch"], values)
    if "bolus" in structures_hu:
        values = np.where((abs(x) < 10) & (y > -26) & (y < -20), structures_hu["bolus"], values)
    return Image(GRID, values.astype(np.int16), "HU")


def drawn(*structures: Structure) -> StructureSet:
    return StructureSet((BODY, *structures), FRAME)


def at(image: Image, x: float, y: float) -> float:
    k, j, i = np.rint(image.grid.to_index([x, y, PLANES[5]])).astype(int)
    return float(image.values[k, j, i])


def grams(image: Image) -> float:
    return float(image.values.sum(dtype=np.float64)) * image.grid.voxel_volume_cm3


@settings(max_examples=10, deadline=None)
@given(st.integers(-1024, 900))
def test_what_the_ct_shows_outside_the_outline_changes_nothing(around: int) -> None:
    found = body_density(ct(40, around), drawn(), TABLE)
    np.testing.assert_array_equal(found.image.values, body_density(ct(40), drawn(), TABLE).image.values)
    assert at(found.image, 30.0, 27.0) == pytest.approx(0.0012)
    assert at(found.image, 0.0, 0.0) == pytest.approx(1.003 + 0.001169 * 40, abs=1e-3)
    assert found.notes == ()


def test_a_couch_that_is_drawn_is_included_with_its_density_in_the_ct() -> None:
    for couch in (
        COUCH,
        box("fix", "FIXATION", (-30.0, 30.0), (24.0, 30.0)),
        box("Couch interior", "OTHER", (-30.0, 30.0), (24.0, 30.0)),
    ):
        found = body_density(ct(couch=-500), drawn(couch), WHOLE)
        assert at(found.image, 0.0, 27.0) == pytest.approx(0.5)
        assert at(found.image, 0.0, 35.0) == pytest.approx(0.0012)
        assert any(f"'{couch.name}' is included with its density in the CT, 0.50" in note for note in found.notes)


def test_an_organ_outside_the_outline_is_no_couch() -> None:
    found = body_density(ct(couch=-500), drawn(box("Arm", "ORGAN", (-30.0, 30.0), (24.0, 30.0))), WHOLE)
    assert at(found.image, 0.0, 27.0) == pytest.approx(0.0012)


def test_a_couch_that_is_not_in_the_ct_is_told_and_can_be_given_a_density() -> None:
    absent = body_density(ct(), drawn(COUCH), TABLE)
    assert any("'CouchSurface' is air in the CT" in n and '--density "CouchSurface=' in n for n in absent.notes)
    given_ = body_density(ct(), drawn(COUCH), TABLE, [("couchsurface", 0.08)])
    assert at(given_.image, 0.0, 27.0) == pytest.approx(0.08)
    # 60 x 6 x 30 mm of couch and as much air less.
    assert grams(given_.image) - grams(absent.image) == pytest.approx(10.8 * (0.08 - 0.0012), rel=0.01)
    assert any("density of 'CouchSurface' (10.8 cm3) set to 0.08 g/cm3" in note for note in given_.notes)


def test_a_bolus_is_always_included_and_refused_when_its_density_is_unknown() -> None:
    assert at(body_density(ct(bolus=0), drawn(BOLUS), TABLE).image, 0.0, -23.0) == 1.0
    with pytest.raises(InputError, match=r'bolus \'Bolus\' is air in the CT.*--density "Bolus=1.0"'):
        body_density(ct(), drawn(BOLUS), TABLE)
    assert at(body_density(ct(), drawn(BOLUS), TABLE, [("Bolus", 1.02)]).image, 0.0, -23.0) == pytest.approx(1.02)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.1, 8.0), st.floats(-15.0, 5.0), st.floats(3.3, 9.7))
def test_an_override_fills_voxels_in_part_so_its_mass_is_that_of_its_volume(
    g_cm3: float, edge_mm: float, width_mm: float
) -> None:
    part = box("Port", "OTHER", (edge_mm, edge_mm + width_mm), (-8.3, 4.1), PLANES[2:6])
    plain, changed = (body_density(ct(), drawn(part), TABLE, o) for o in ([], [("Port", g_cm3)]))
    volume_cm3 = width_mm * 12.4 * 12.0 / 1000
    assert grams(changed.image) - grams(plain.image) == pytest.approx(
        volume_cm3 * (g_cm3 - 1.0), abs=2e-4 * volume_cm3 + 1e-4
    )


def test_of_two_overrides_that_overlap_the_later_holds() -> None:
    inner = box("Inner", "OTHER", (-5.0, 5.0), (-5.0, 5.0))
    outer = box("Outer", "OTHER", (-9.0, 9.0), (-9.0, 9.0))
    both = [("Outer", 0.5), ("Inner", 2.0)]
    found = body_density(ct(), drawn(inner, outer), TABLE, both).image
    assert (at(found, 0.0, 0.0), at(found, 7.0, 7.0)) == (2.0, 0.5)
    turned = body_density(ct(), drawn(inner, outer), TABLE, both[::-1]).image
    assert at(turned, 0.0, 0.0) == 0.5


def with_metal(hu: float, voxels: int) -> Image:
    values = ct().values.copy()
    values[5, 20, 20 : 20 + voxels] = hu
    return Image(GRID, values, "HU")


def test_little_metal_is_clamped_and_told_with_the_highest_number() -> None:
    found = body_density(with_metal(3071, 4), drawn(), TABLE)
    (note,) = found.notes
    assert "4 voxels of the patient (0.05 cm3) are above HU 3000" in note
    assert "highest HU 3071; they are taken as 2.8 g/cm3" in note
    assert float(found.image.values.max()) == pytest.approx(2.8)


def block_of(hu: float) -> Image:
    values = ct().values.copy()
    values[4:8, 18:24, 18:24] = hu
    return Image(GRID, values, "HU")


PORT = box("Port", "OTHER", (-4.0, 8.0), (-4.0, 8.0), PLANES[3:9])


@pytest.mark.parametrize(
    ("hu", "words"),
    [
        (8000, ("144 voxels", "1.73 cm3", "above HU 3000", "highest HU 8000", "metal", "--density", "--density-table")),
        (-3024, ("144 voxels", "below HU -1100", "lowest HU -3024", "cut off the body")),
    ],
)
def test_much_outside_the_table_is_refused_until_its_density_is_given(hu: int, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as told:
        body_density(block_of(hu), drawn(PORT), TABLE)
    for word in words:
        assert word in str(told.value)
    found = body_density(block_of(hu), drawn(PORT), TABLE, [("Port", 4.51)])
    assert at(found.image, 0.0, 0.0) == pytest.approx(4.51)


def test_a_table_that_reaches_so_far_takes_metal_as_it_is() -> None:
    table = DensityTable("own", "", (-1000.0, 0.0, 8000.0), (0.0012, 1.0, 4.51), ("",) * 3)
    assert at(body_density(block_of(8000), drawn(), table).image, 0.0, 0.0) == pytest.approx(4.51)


def test_metal_outside_the_patient_does_not_count() -> None:
    assert body_density(ct(couch=8000), drawn(), TABLE).notes == ()


def test_noise_of_the_air_in_the_body_is_air() -> None:
    noise = np.random.default_rng(1).normal(-1000, 15, GRID.shape).astype(np.int16)
    found = body_density(Image(GRID, noise, "HU"), drawn(), TABLE)
    assert found.notes == ()
    assert float(found.image.values.min()) == pytest.approx(0.0012)


@pytest.mark.parametrize(
    ("overrides", "kind", "told"),
    [
        ([("Cuoch", 1.0)], MissingStructureError, "structure 'Cuoch', whose density is given, is not in the case"),
        ([("CouchSurface", -0.1)], InputError, "expected 0 to 22.7 g/cm3"),
        ([("CouchSurface", 1000.0)], InputError, "a density of 1000 g/cm3 for structure 'CouchSurface' cannot be"),
        ([("CouchSurface", float("nan"))], InputError, "cannot be"),
        ([("Far", 1.0)], GeometryError, "'Far', whose density is given, lies outside the CT"),
    ],
)
def test_densities_that_cannot_be_are_refused(
    overrides: list[tuple[str, float]], kind: type[Exception], told: str
) -> None:
    far = box("Far", "SUPPORT", (500.0, 510.0), (0.0, 10.0))
    with pytest.raises(kind, match=told):
        body_density(ct(couch=0), drawn(COUCH, far), TABLE, overrides)


def test_a_patient_needs_an_outline_in_the_frame_of_the_ct() -> None:
    with pytest.raises(MissingStructureError, match=r"outline 'External'.*the case, which has: CouchSurface"):
        body_density(ct(), StructureSet((COUCH,), FRAME), TABLE)
    with pytest.raises(GeometryError, match="frame of reference"):
        body_density(ct(), StructureSet((), "9"), TABLE)


def test_the_mean_on_a_dose_grid_is_carried_on_to_the_couch_on_the_same_lattice() -> None:
    found = body_density(ct(couch=0), drawn(COUCH), TABLE)
    dose_grid = GRID.crop((0, 10, 10), (10, 30, 30)).with_spacing(3.0)
    coarse = found.around(dose_grid)
    low = dose_grid.to_index(coarse.grid.origin_mm)
    np.testing.assert_allclose(low, np.rint(low), atol=1e-9)
    bare = average(found.image, dose_grid, outside=0.0012)
    k, j, i = (slice(-round(a), -round(a) + n) for a, n in zip(low, dose_grid.shape, strict=True))
    np.testing.assert_allclose(coarse.values[k, j, i], bare.values, atol=1e-6)
    # All the mass of body and couch, 40 x 40 x 30 and 60 x 6 x 30 mm of water.
    assert grams(Image(coarse.grid, coarse.values - np.float32(0.0012), "g/cm3")) == pytest.approx(58.8, rel=0.005)


def test_wide_voxels_of_a_dose_grid_are_divided() -> None:
    found = body_density(ct(couch=0), drawn(COUCH), TABLE)
    dose_grid = GRID.crop((0, 10, 10), (10, 30, 30)).with_spacing((3.0, 5.0, 2.5))
    fine = found.around(dose_grid)
    assert fine.grid.spacing_mm == pytest.approx((3.0, 2.5, 2.5))
    outer = dose_grid.to_index(fine.grid.to_world([-0.5, -0.5, -0.5]))
    np.testing.assert_allclose(outer - 0.5, np.rint(outer - 0.5), atol=1e-9)
    assert grams(Image(fine.grid, fine.values - np.float32(0.0012), "g/cm3")) == pytest.approx(58.8, rel=0.005)


def test_a_couch_beyond_the_dose_grid_lengthens_the_way() -> None:
    # 6 mm of 0.5 g/cm3, of which lung has 0.992 times the electrons of as much water.
    dose_grid = GRID.crop((0, 10, 10), (10, 30, 30))
    from_below = Fan.of(BeamSetup("B", 1, (0.0, 0.0, 0.0), 180.0), "HFS", 1000.0)
    depths = [
        float(
            from_below.radiological_depth_cm(
                relative_electron_density(body_density(ct(), drawn(COUCH), TABLE, given).around(dose_grid)),
                np.array([[0.0, 0.0, 1000.0]]),
            )[0]
        )
        for given in ([], [("CouchSurface", 0.5)])
    ]
    assert depths[0] == pytest.approx(2.0, abs=0.01)
    assert depths[1] - depths[0] == pytest.approx(0.6 * 0.5 * 0.992, abs=0.002)


def test_an_outline_that_ends_within_the_body_is_told() -> None:
    low = box("External", "EXTERNAL", (-20.0, 20.0), (-20.0, 20.0), PLANES[:7])
    (note,) = body_density(ct(), StructureSet((low,), FRAME), TABLE).notes
    assert f"ends at z = {PLANES[6]:.1f} mm, and the CT shows the body above it" in note
    vertex = ct().values.copy()
    vertex[7:] = -1000
    assert body_density(Image(GRID, vertex, "HU"), StructureSet((low,), FRAME), TABLE).notes == ()


def test_the_outline_on_the_ct_is_the_body() -> None:
    found = body_density(ct(couch=0), drawn(COUCH), TABLE)
    assert found.outline.sum() * GRID.voxel_volume_cm3 == pytest.approx(4.0 * 4.0 * 3.0)
