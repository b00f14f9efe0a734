"""An image of function on the planning CT: its noise, its day, its place."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image, Transform, resample
from tailort.patient import (
    Case,
    Fact,
    FunctionalScan,
    Person,
    RegistrationOptions,
    Scan,
    Structure,
    StructureSet,
    quantity_named,
)
from tailort.registration import Registration
from tailort.registration.records import Measure, Quality
from tailort.workflow.clock import StageClock
from tailort.workflow.functional import Reading, functional_image, local_noise, notes_of

FRAME = "1.2.3"
CT_GRID = Grid.axial((16, 30, 30), (3.0, 3.0, 3.0), (-43.5, -43.5, -22.5), FRAME)
PET_GRID = Grid.axial((14, 24, 18), (4.0, 4.0, 4.0), (-46.0, -46.0, -26.0), FRAME)
FDG, MISO = quantity_named("fdg-suv"), quantity_named("fmiso-tumour-to-blood")


def box(name: str, low: tuple[float, float], high: tuple[float, float], zs: np.ndarray) -> Structure:
    (x0, y0), (x1, y1) = low, high
    ring = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return Structure(name, "ORGAN", tuple(np.column_stack([ring, np.full(4, z)]) for z in zs), FRAME)


ZS = CT_GRID.axes_mm()[0][4:12]
BLOOD = box("A_Aorta", (-36.0, -12.0), (-16.0, 12.0), ZS)
OUTSIDE = box("Heart", (10.0, -12.0), (40.0, 12.0), ZS)


def a_case(study_date: str = "20260110", facts: dict | None = None) -> Case:
    ct = Scan(Image(CT_GRID, np.zeros(CT_GRID.shape, np.int16), "HU"), "CT", "1.2.9", "1.2.8", (), "HFS")
    person = Person("P1", study_date=study_date)
    return Case(person, (ct,), StructureSet((BLOOD, OUTSIDE), FRAME), facts=facts or {})


def a_scan(
    values: np.ndarray | None = None, quantity=FDG, day: dt.date = dt.date(2026, 1, 1), **more
) -> FunctionalScan:
    filled = np.full(PET_GRID.shape, 2.0) if values is None else values
    scan = Scan(Image(PET_GRID, filled.astype(np.float32), "SUV"), "PT", "1.2.7", "1.2.8", (), "HFS", "PET")
    return FunctionalScan(quantity, scan, day, more.pop("patient_id", "P1"), "test PET", **more)


def on_ct(scan: FunctionalScan, case: Case | None = None, chosen: Reading | None = None, **more):
    return functional_image(case or a_case(), scan, StageClock(lambda stage, share: None), chosen, **more)


def test_in_one_frame_the_image_is_interpolated_and_its_place_is_not_known() -> None:
    values = np.random.default_rng(1).random(PET_GRID.shape) + 1.0
    made = on_ct(a_scan(values))
    expected = resample(Image(PET_GRID, values.astype(np.float32), "SUV"), CT_GRID, np.nan)
    assert np.allclose(made.image.values, expected.values, equal_nan=True)
    assert made.image.grid.same_as(CT_GRID)
    assert made.uncertainty_mm is None
    assert made.own_spacing_mm == PET_GRID.spacing_mm
    assert "not registered" in notes_of(made)[1]
    assert "unknown" in notes_of(made)[1]


def test_what_the_scan_does_not_reach_is_not_a_number() -> None:
    far = Grid.axial((4, 4, 4), (3.0, 3.0, 3.0), (18.0, 0.0, 0.0), FRAME)
    made = on_ct(a_scan(), grid=far)
    assert np.isnan(made.image.values).any()
    assert np.isfinite(made.image.values).any()
    with pytest.raises(InputError, match="does not reach the planning CT"):
        on_ct(a_scan(), grid=Grid.axial((4, 4, 4), (3.0, 3.0, 3.0), (400.0, 0.0, 0.0), FRAME))


VOXELS = (16, 24, 24)
INNER = (slice(4, -4),) * 3


def smooth() -> np.ndarray:
    k, j, i = np.indices(VOXELS) / 5.0
    return np.asarray(4.0 + k**2 + 0.3 * i * j + np.sin(j / 3.0))


@settings(max_examples=10)
@given(st.floats(0.05, 5.0), st.integers(0, 1000))
def test_white_noise_is_found_and_a_smooth_image_has_none(noise: float, seed: int) -> None:
    rough = smooth() + np.random.default_rng(seed).normal(0.0, noise, VOXELS)
    assert np.median(local_noise(smooth(), (4.0, 4.0, 4.0))[INNER]) < 0.01
    assert np.median(local_noise(rough, (4.0, 4.0, 4.0))[INNER]) == pytest.approx(noise, rel=0.2, abs=0.01)


@pytest.mark.parametrize("width_mm", [2.0, 2.5, 3.0])
def test_noise_that_neighbours_share_is_found_too(width_mm: float) -> None:
    white = np.random.default_rng(2).normal(0.0, 1.0, VOXELS)
    shared = gaussian_filter(white, width_mm / 4.0, mode="wrap")
    rough = smooth() + 0.5 * shared / shared.std()
    assert np.median(local_noise(rough, (4.0, 4.0, 4.0))[INNER]) == pytest.approx(0.5, rel=0.25)


def test_a_ratio_is_the_image_over_the_mean_of_its_reference_also_where_a_small_grid_is_asked_for() -> None:
    x = np.broadcast_to(PET_GRID.axes_mm()[2], PET_GRID.shape)
    scan = a_scan(np.where(x < -10.0, 1.6, 4.0), MISO)
    small = CT_GRID.crop((5, 10, 20), (10, 20, 28))
    made = on_ct(scan, chosen=Reading(reference="A_Aorta"), grid=small)
    assert made.image.unit == "1"
    assert np.nanmax(made.image.values) == pytest.approx(4.0 / 1.6, rel=1e-3)
    assert made.facts["SUV of blood"].startswith("1.6, mean of A_Aorta")
    told = on_ct(scan, chosen=Reading(reference=2.0), grid=small)
    assert np.nanmax(told.image.values) == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize(
    ("quantity", "reference", "error", "match"),
    [
        (MISO, None, InputError, "name a structure that shows blood"),
        (MISO, 0.0, InputError, "above 0"),
        (MISO, "Heart", GeometryError, r"does not reach .* % of 'Heart'"),
        (MISO, "Liver", InputError, "structure 'Liver' is needed"),
        (FDG, 1.0, InputError, "no ratio"),
    ],
)
def test_a_reference_that_cannot_be_is_refused(quantity, reference, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        on_ct(a_scan(quantity=quantity), chosen=Reading(reference=reference))


def test_the_interval_to_the_planning_ct_is_always_told() -> None:
    made = on_ct(a_scan())
    assert made.days_before_ct == 9
    assert any("9 day(s) before the planning CT" in note for note in made.notes)
    later = on_ct(a_scan(day=dt.date(2026, 1, 12)))
    assert later.days_before_ct == -2
    assert any("2 day(s) after the planning CT" in note for note in later.notes)
    same = on_ct(a_scan(day=dt.date(2026, 1, 10)))
    assert any("on the day of the planning CT" in note for note in same.notes)


def test_an_interval_beyond_the_one_that_was_allowed_is_refused() -> None:
    assert on_ct(a_scan(), chosen=Reading(most_days=9)).days_before_ct == 9
    with pytest.raises(InputError, match=r"at most 8 day\(s\)"):
        on_ct(a_scan(), chosen=Reading(most_days=8))


def test_a_planning_ct_without_a_day_is_unknown_and_refused_only_where_a_limit_is_asked_for() -> None:
    made = on_ct(a_scan(), a_case(""))
    assert made.days_before_ct is None
    assert any("unknown day" in note for note in made.notes)
    with pytest.raises(InputError, match="no StudyDate"):
        on_ct(a_scan(), a_case(""), Reading(most_days=30))


@pytest.mark.parametrize(("start", "refused"), [(dt.date(2026, 1, 1), True), (dt.date(2026, 1, 2), False)])
def test_an_image_of_the_first_day_of_treatment_or_later_has_to_be_meant(start: dt.date, refused: bool) -> None:
    case = a_case(facts={"radiotherapy_start_date": Fact("radiotherapy_start_date", start)})
    if not refused:
        assert on_ct(a_scan(), case).days_before_ct == 9
        return
    with pytest.raises(InputError, match="--during-treatment"):
        on_ct(a_scan(), case)
    assert on_ct(a_scan(), case, Reading(during_treatment=True)).date == dt.date(2026, 1, 1)


def test_another_patient_is_refused_unless_it_is_told_to_be_the_same() -> None:
    with pytest.raises(InputError, match="of patient 'P2', the planning CT of 'P1'"):
        on_ct(a_scan(patient_id="P2"))
    assert on_ct(a_scan(patient_id="P2"), chosen=Reading(same_patient=True)).quantity is FDG


def test_a_pet_without_a_ct_cannot_bend() -> None:
    with pytest.raises(InputError, match="cannot be bent"):
        on_ct(elsewhere(), chosen=Reading(registration=RegistrationOptions()))


def elsewhere() -> FunctionalScan:
    """A PET in another frame of reference, at the same coordinates."""
    scan = a_scan()
    grid = Grid(PET_GRID.shape, PET_GRID.affine, "1.2.99")
    return replace(scan, scan=replace(scan.scan, image=Image(grid, scan.scan.image.values, "SUV")))


def registered(monkeypatch: pytest.MonkeyPatch, trip_mm: float) -> list[str]:
    """Let every registration be the identity with that round trip; gives what was compared."""
    compared: list[str] = []

    def found(case, course, clock, stop, metric):
        compared.append(f"{course.scan.modality} by {metric}")
        measures = (
            Measure("inverse consistency, mean [mm]", trip_mm / 2.0, "<=", 3.0),
            Measure("inverse consistency, 95th percentile [mm]", trip_mm),
        )
        return Registration(Transform(FRAME, "1.2.99", np.eye(4)), method="rigid", quality=Quality(measures))

    monkeypatch.setattr("tailort.workflow.functional.registration_of", found)
    return compared


def test_without_a_ct_of_its_session_the_image_is_compared_and_the_round_trip_tells_how_sure_that_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = registered(monkeypatch, 2.0)
    made = on_ct(elsewhere())
    assert compared == ["PT by mutual information"]
    assert made.uncertainty_mm == pytest.approx(2.0 / np.sqrt(2.0))
    assert np.nanmax(made.image.values) == pytest.approx(2.0)
    ct = Scan(Image(elsewhere().scan.image.grid, np.zeros(PET_GRID.shape), "HU"), "CT", "1.2.6", "1.2.8", (), "HFS")
    on_ct(replace(elsewhere(), companion=ct))
    assert compared[1:] == ["CT by correlation"]


def test_a_registration_that_fails_is_refused_unless_a_person_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, 20.0)
    with pytest.raises(InputError, match=r"fails its own check .*inverse consistency"):
        on_ct(elsewhere())
    made = on_ct(elsewhere(), chosen=Reading(insist=True))
    assert any("a person insisted" in note for note in made.notes)
