"""A dose painted by an image: what is prescribed where, the plan that gives it, and the even plan of the same mean."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import dicom_cases as d
import numpy as np
import pytest
import water_cases as w
from scipy import ndimage

from tailort.cli.commands import read_patient
from tailort.errors import GeometryError, InputError
from tailort.geometry import Image, partial_volume
from tailort.patient import Case, FunctionalImage, Normalisation, Prescription, quantity_named
from tailort.protocols import Protocol, load
from tailort.targets.painting import FWHM
from tailort.workflow.clock import StageClock
from tailort.workflow.options import PlanningOptions
from tailort.workflow.painting import painted_request
from tailort.workflow.planning import plan
from tailort.workflow.records import PlanningRun
from tailort.workflow.requesting import Request

TUMOUR = ("GTVp", "GTV", d.closed(-7.5, -4.5, -1.5, 1.5, 4.5, half=4.0))
CORD = ("SpinalCord", "ORGAN", d.closed(-4.5, -1.5, 1.5, half=1.0, centre=(-5.5, 5.5)))
FILE = """
id: own
version: "1"
title: A painted protocol of one's own
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - target: PTV_Paint
    dose_gy: 54
    fractions: 30
    painted: {of: [GTVp], image: fdg-suv, most_gy: 66, map: linear, low: 0.0, high: 1.0, percentile: 95MORE}
targets:
  - {name: PTV_Paint, role: PTV, of: [GTVp], then: [{expand: {mm: 1}}]}
technique: {kind: imrt, beams: 5}
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("painted") / "today"
    w.case(folder, [w.EXTERNAL, TUMOUR, CORD])
    return read_patient(folder, StageClock(lambda stage, share: None))


def protocol(folder: Path, more: str = "") -> Protocol:
    path = folder / "own.yaml"
    path.write_text(FILE.replace("MORE", more), encoding="utf-8")
    return load(path)


def uptake(case: Case, towards: int = 0) -> FunctionalImage:
    """SUV that rises from 2 to 10 across the tumour, along x, y or z."""
    grid = case.ct.image.grid
    low, high = case.structures["GTVp"].bounds_mm()
    at = grid.to_world(np.stack(np.indices(grid.shape), axis=-1))[..., towards]
    share = (at - low[towards]) / (high[towards] - low[towards])
    image = Image(grid, (2.0 + 8.0 * np.clip(share, 0.0, 1.0)).astype(np.float32), "SUV")
    return FunctionalImage(quantity_named("fdg-suv"), image, dt.date(2026, 1, 2), "made for the test")


def planned(case: Case, file: Protocol, image: FunctionalImage | None = None) -> PlanningRun:
    options = PlanningOptions(
        dose_grid_mm=2.0, engine="pencil-nyholm", images={} if image is None else {"fdg-suv": image}
    )
    clock = StageClock(lambda stage, share: None)
    return plan(case, file, options, clock, stop=lambda: False, keep=lambda: None)


@pytest.fixture(scope="module")
def run(case: Case, tmp_path_factory: pytest.TempPathFactory) -> PlanningRun:
    return planned(case, protocol(tmp_path_factory.mktemp("file")), uptake(case))


def test_the_prescription_rises_with_the_uptake_and_stays_in_its_range(run: PlanningRun) -> None:
    (one,) = run.painted
    low, high = run.structures["GTVp"].bounds_mm()
    y, z = 0.5 * (low[1] + high[1]), 0.5 * (low[2] + high[2])
    along = one.painted.at([[x, y, z] for x in np.linspace(low[0] + 0.5, high[0] - 0.5, 8)])
    assert (np.diff(along) >= 0).all()
    assert along[-1] - along[0] > 4.0
    assert one.painted.image.values.min() >= 54.0
    assert one.painted.image.values.max() <= 66.0


def test_both_plans_give_the_painted_structure_the_mean_that_is_prescribed(run: PlanningRun) -> None:
    assert run.comparator is not None
    (prescription,) = run.main.prescriptions
    for result in (run.main, run.comparator):
        (row,) = [row for row in result.scorecard.rows if (row.structure, row.metric) == ("GTVp", "Mean[Gy]")]
        assert row.value == pytest.approx(prescription.dose_gy, abs=0.02)


def test_the_painted_plan_gives_more_where_the_uptake_is_high_and_the_even_one_does_not(run: PlanningRun) -> None:
    (one,) = run.painted
    slopes = []
    for _, quality in one.qualities:
        slope, _ = np.polyfit(quality.prescribed_gy, quality.dose_gy, 1, w=np.sqrt(quality.volume_cm3))
        slopes.append(float(slope))
    assert slopes[0] > 0.6
    assert abs(slopes[1]) < 0.3
    assert one.qualities[0][1].quality_factor < 0.5 * one.qualities[1][1].quality_factor


def test_who_reads_the_files_finds_the_range_the_image_and_the_quality(run: PlanningRun) -> None:
    (told,) = (one.as_dict() for one in run.painted)
    assert told["range_gy"] == [54.0, 66.0]
    assert told["image"]["quantity"] == "fdg-suv"
    assert set(told["plans"]) == {"own", "comparator"}
    assert told["true_tumour_control"] == {}


def test_off_by_a_set_up_error_the_painting_moves_with_the_patient_and_its_quality_is_judged(
    case: Case, tmp_path: Path
) -> None:
    clock = StageClock(lambda stage, share: None)
    options = PlanningOptions(
        dose_grid_mm=2.0, engine="pencil-nyholm", images={"fdg-suv": uptake(case)}, setup_errors_mm=(1.0, 0.0, 0.0),
        robust=True,
    )  # fmt: skip
    run = plan(case, protocol(tmp_path), options, clock, stop=lambda: False, keep=lambda: None)
    assert run.robustness is not None
    rows = {(row.structure, row.metric): row for row in run.robustness.rows}
    told = rows["GTVp", "QF"]
    (_, quality), _ = run.painted[0].qualities
    assert told.nominal == pytest.approx(quality.quality_factor, abs=1e-4)
    assert told.worst is not None
    assert quality.quality_factor < told.worst < 0.1
    # What is painted has its mean once, and the margin is asked for nothing.
    (prescribed,) = run.main.prescriptions
    assert rows["GTVp", "Mean[Gy]"].limit == pytest.approx(prescribed.dose_gy)
    assert "PTV_Paint" not in {row.structure for row in run.main.scorecard.rows if row.limit is not None}


def test_the_blur_of_the_image_over_the_surface_is_taken_back_where_it_is_told(case: Case, tmp_path: Path) -> None:
    """An even uptake that the image shows darker at the edge asks for one dose everywhere."""
    fine = case.ct.image.grid.with_spacing(1.0)
    inside = partial_volume(case.structures["GTVp"].contours, fine).full()
    seen = ndimage.gaussian_filter(1.0 + 7.0 * inside, 3.0 / FWHM)
    image = FunctionalImage(
        quantity_named("fdg-suv"), Image(fine, seen.astype(np.float32), "SUV"), dt.date(2026, 1, 2), "made for the test"
    )
    target = replace(case.structures["GTVp"], name="PTV_Paint", role="PTV")
    structures = case.structures.with_structures(target)
    spread = {}
    for more in ("", ", point_spread_mm: 3"):
        file = protocol(tmp_path, more)
        prescribed = Prescription("PTV_Paint", 54.0, 30, Normalisation("coverage", metric="D95%[Gy]"))
        asked = Request("", "own", (prescribed,), (prescribed,), (), (), ())
        found, even = painted_request(asked, file, structures, {"fdg-suv": image}, 3.0)
        assert even is not None
        painted = found.prescriptions[0].painted
        assert painted is not None
        spread[more] = float(np.ptp(painted.image.values))
        assert ("blur of 3 mm over the surface taken back" in painted.text) is bool(more)
    without, told = spread.values()
    assert without > 3.0
    assert told < 0.5


def test_without_the_image_nothing_is_planned(case: Case, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="paints the dose of 'PTV_Paint' by fdg-suv, and the images given are: none"):
        planned(case, protocol(tmp_path))


def test_an_image_that_ends_in_the_tumour_is_refused(case: Case, tmp_path: Path) -> None:
    whole = uptake(case)
    values = np.array(whole.image.values)
    values[:, :, values.shape[2] // 2 :] = np.nan
    half = FunctionalImage(whole.quantity, whole.image.with_values(values), whole.date, whole.source)
    with pytest.raises(GeometryError, match="the image does not cover"):
        planned(case, protocol(tmp_path), half)


def test_an_organ_to_keep_away_from_must_be_drawn(case: Case, tmp_path: Path) -> None:
    away = ", away_from: [{structure: BrachialPlexus, margin_mm: 2}]"
    with pytest.raises(InputError, match="nothing is to be painted within 2 mm of 'BrachialPlexus': draw it"):
        planned(case, protocol(tmp_path, away), uptake(case))
