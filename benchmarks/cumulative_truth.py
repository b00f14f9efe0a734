"""How often the true dose of all courses lies in the range that is told, and how wide that range is.

    python benchmarks/cumulative_truth.py --seeds 101-120 [--keep FOLDER]

Virtual patients with a spinal metastasis and an earlier scan under a deformation that is known at every point. The
earlier course is 66 Gy in 30 about the oesophageal tumour of then (a steep dose by formula on the earlier CT), today's
24 Gy in 2 about the metastasis with a notch for the canal. The scans are registered as `tailort reirradiate` does; the
true sum takes the earlier dose through the exact map. FOLDER keeps the registrations for another run.
"""

from __future__ import annotations

import argparse
import datetime as dt
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import erfc

from tailort.evaluation import EarlierCourse, cells_of
from tailort.geometry import Grid, Image, interpolate, partial_volume
from tailort.patient import Case, Course, Dose, Structure
from tailort.phantom import spine
from tailort.phantom.earlier import earlier_scan
from tailort.registration import Registration, deformable, rigid, uncertainty
from tailort.workflow.cumulating import Cumulated, cumulated, with_ranges
from tailort.workflow.earlier import earlier_on
from tailort.workflow.ranges import drawn_in, ranges, voxels_of

LABEL = "first course"
GRID_MM = 2.5
DRAWS = 40
# Organs whose earlier dose counts for less than this say nothing of a registration, Gy BED.
LEAST_GY = 10.0


@dataclass(frozen=True, eq=False)
class Patient:
    """One virtual patient with both scans registered.

    Parameters
    ----------
    case : Case
        Of today with the earlier course.
    forward, backward : Registration
        Today to earlier, and back.
    today : Dose
        Of today's course.
    true_mm : (k, j, i, 3) float32
        Where the voxels of today's dose lay then, LPS mm, by the exact map.
    error_mm : dict
        Of mapped landmarks, by organ.
    """

    case: Case
    forward: Registration
    backward: Registration
    today: Dose
    true_mm: NDArray[np.float32]
    error_mm: dict[str, NDArray[np.float64]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", default="101-120")
    options.add_argument("--keep", type=Path, default=None)
    asked = options.parse_args()
    first, _, last = asked.seeds.partition("-")
    judged: list[tuple[str, str, float, float, float, float]] = []
    errors: dict[str, list[float]] = {}
    for seed in range(int(first), int(last or first) + 1):
        started = time.process_time()
        patient = kept(seed, asked.keep)
        rows, true = told(patient)
        judged += pairs(rows, true)
        for organ, values in patient.error_mm.items():
            errors.setdefault(organ, []).append(float(np.median(values)))
        print(f"seed {seed}: {time.process_time() - started:.0f} CPU-s, {summary(judged)}", flush=True)
    print(f"\nall organs: {summary(judged)}")
    for organ in sorted({row[0] for row in judged}):
        print(f"{organ:20s} {summary([row for row in judged if row[0] == organ])}")
    for metric in sorted({row[1] for row in judged}):
        print(f"{metric:20s} {summary([row for row in judged if row[1] == metric])}")
    for organ, medians in errors.items():
        print(f"landmarks of {organ:14s} median of the medians {np.median(medians):.2f} mm, most {max(medians):.2f} mm")


def kept(seed: int, folder: Path | None) -> Patient:
    """Return a registered patient, from the folder where it is there."""
    where = None if folder is None else folder / f"{seed}.pkl"
    if where is not None and where.exists():
        found: Patient = pickle.loads(where.read_bytes())
        return found
    made = registered(seed)
    if where is not None:
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(pickle.dumps(made))
    return made


def registered(seed: int) -> Patient:
    """Make a patient and his earlier scan, irradiate both and register them."""
    patient = spine.make(seed, "coarse")
    then = earlier_scan(patient, seed)
    scan = then.case.ct
    dose = earlier_dose(then.case)
    course = Course(LABEL, scan, then.case.structures, (dose,), last_fraction=then.last_fraction)
    case = Case(patient.person, (patient.scan,), patient.structures, courses=(course,))
    start = rigid(case.ct.image, scan.image, metric="correlation")
    forward = deformable(case.ct.image, scan.image, start)
    backward = deformable(scan.image, case.ct.image, start.inverse())
    grid = case.ct.image.grid.with_spacing(GRID_MM)
    true = then.bending.to_earlier(centres(grid)).astype(np.float32)
    error = {
        organ: np.linalg.norm(forward.map_points(now) - before, axis=-1) for organ, (now, before) in then.pairs.items()
    }
    return Patient(case, forward, backward, dose_of_today(case, grid), true, error)


def earlier_dose(case: Case) -> Dose:
    """66 Gy in 30 about the oesophageal tumour: 30 mm along it, 10 mm around, penumbra of 7 mm, and a bath."""
    grid = case.ct.image.grid.with_spacing(3.0)
    tumour = partial_volume(case.structures["GTVp"].contours, grid).full() >= 0.5
    along = ndimage.binary_dilation(tumour, np.ones((21, 1, 1), dtype=bool))
    oesophagus = partial_volume(case.structures["Esophagus"].contours, grid).full() >= 0.5
    beyond = beyond_mm(tumour | (along_of(along) & oesophagus), grid) - 10.0
    gy = 66.0 * (0.8 * 0.5 * erfc(beyond / (np.sqrt(2.0) * 7.0 / 1.68)) + 0.2 * np.exp(-np.maximum(beyond, 0.0) / 40.0))
    return Dose(Image(grid, gy.astype(np.float32), "Gy"), "physical", "course", 30, None, "formula", "1.1")


def along_of(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whole slices that a mask touches."""
    found: NDArray[np.bool_] = np.broadcast_to(mask.any(axis=(1, 2))[:, None, None], mask.shape)
    return found


def dose_of_today(case: Case, grid: Grid) -> Dose:
    """24 Gy in 2 about the metastasis, 2 mm around, penumbra of 5 mm, no more than 12 Gy near the canal."""
    target = partial_volume(case.structures["GTV"].contours, grid).full() >= 0.5
    canal = partial_volume(case.structures["SpinalCord"].contours, grid).full() >= 0.5
    beyond, notch = beyond_mm(target, grid) - 2.0, beyond_mm(canal, grid) - 1.5
    high = 24.0 * (0.85 * 0.5 * erfc(beyond / (np.sqrt(2.0) * 5.0 / 1.68)) + 0.15 * np.exp(-np.maximum(beyond, 0) / 30))
    gy = np.minimum(high, 12.0 + 12.0 * np.clip(notch / 5.0, 0.0, 1.0))
    return Dose(Image(grid, gy.astype(np.float32), "Gy"), "physical", "course", 2, None, "formula", "1.2")


def beyond_mm(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """Distance to the edge of a mask, mm, negative inside."""
    outside = ndimage.distance_transform_edt(~mask, sampling=grid.spacing_mm)
    inside = ndimage.distance_transform_edt(mask, sampling=grid.spacing_mm)
    found: NDArray[np.float64] = outside - inside
    return found


def centres(grid: Grid) -> NDArray[np.float64]:
    """Voxel centres (k, j, i, 3), LPS mm."""
    return grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))


def judged_organs(case: Case) -> list[Structure]:
    """Organs that are drawn whole enough: neither skin nor what has no contour."""
    return [s for s in case.structures if s.role == "ORGAN" and not s.is_empty and s.name != "Skin"]


def told(patient: Patient) -> tuple[tuple[Cumulated, ...], tuple[Cumulated, ...]]:
    """Sum with ranges as it is told, and the true sum."""
    case, today = patient.case, patient.today
    grid = today.image.grid
    course = case.courses[0]
    assert course.scan is not None
    known = uncertainty.estimate(case.ct.image, course.scan.image, patient.forward, patient.backward)
    maps = {LABEL: replace(patient.forward, uncertainty=known)}
    cells = [cells_of(s, grid, single_slice_thickness_mm=1.0) for s in judged_organs(case)]
    earlier = earlier_on(case, grid, maps, dt.date(2026, 11, 1))
    _, rows, _ = cumulated(cells, earlier, (today,))
    voxels = voxels_of(cells, grid)
    keys = [(row.structure, row.metric, row.alpha_beta_gy) for row in rows]
    drawn = drawn_in(case, grid, voxels, maps, DRAWS, 0)
    rows = with_ranges(rows, ranges(keys, cells, voxels, earlier, (today,), drawn, lambda n: None))
    given = earlier[0].doses[0]
    true_gy = interpolate(course.doses[0].image, patient.true_mm, np.nan).astype(np.float32)
    exact = EarlierCourse(LABEL, (replace(given, image=Image(grid, true_gy, "Gy")),), None, "exact")
    _, true, _ = cumulated(cells, (exact,), (today,))
    return rows, true


def pairs(rows: Sequence[Cumulated], true: Sequence[Cumulated]) -> list[tuple[str, str, float, float, float, float]]:
    """Organ, metric, value as mapped, range and true value, of what the earlier course counts for."""
    found = []
    for row, exact in zip(rows, true, strict=True):
        same = (row.structure, row.metric, row.alpha_beta_gy) == (exact.structure, exact.metric, exact.alpha_beta_gy)
        assert same
        if row.range_gy is None or exact.cumulative_gy[0] != exact.cumulative_gy[1]:
            continue
        if row.per_course_gy[0][0] >= LEAST_GY:
            organ, metric = row.structure, f"{row.metric} a/b {row.alpha_beta_gy:g}"
            found.append((organ, metric, row.cumulative_gy[0], *row.range_gy, exact.cumulative_gy[0]))
    return found


def summary(judged: Sequence[tuple[str, str, float, float, float, float]]) -> str:
    """Share of true values in their range, half-widths, and how far the mapped value is off."""
    if not judged:
        return "nothing to judge"
    values = np.array([row[2:] for row in judged])
    value, low, high, true = values.T
    inside = (true >= low - 1e-3) & (true <= high + 1e-3)
    half, off = 0.5 * (high - low) / value, np.abs(true - value) / value
    return (
        f"{100 * inside.mean():5.1f} % of {len(judged)} inside, half-width median {100 * np.median(half):.1f} %, "
        f"error median {100 * np.median(off):.1f} %, 95th percentile {100 * np.percentile(off, 95):.1f} %"
    )


if __name__ == "__main__":
    main()
