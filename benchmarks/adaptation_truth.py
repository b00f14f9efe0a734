"""How far the dose that `tailort adapt` tells on the anatomy of today lies from the true one, and which triggers fire.

    python benchmarks/adaptation_truth.py --seeds 1-5 --changes large,small --week 3

Virtual patients `adaptive`, coarse: their map from the planning CT to each week is known at every point. 60 Gy in 30 by
formula (a steep dose about the tumour, drawn aside from the cord) stands still in the treatment room while the patient
is set up by the rigid part of the registration; half of the fractions are given on the anatomy of planning, half on
that of the week. Told: contours and dose by the registration. True: contours and dose by the exact map.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import erfc

from tailort.evaluation import histograms
from tailort.geometry import Grid, Image, expand, interpolate, partial_volume
from tailort.geometry.margins import Margin
from tailort.patient import Course, Dose, Structure, StructureSet
from tailort.phantom import adaptive
from tailort.phantom.weekly_map import Change
from tailort.protocols import load
from tailort.protocols.proposals import proposals
from tailort.registration import Registration
from tailort.workflow.adaptation_facts import contour_change, tumour_change, weight_loss, with_measured
from tailort.workflow.clock import StageClock
from tailort.workflow.propagating import structures_of_today
from tailort.workflow.registering import failures, registration_of

GRID_MM, GIVEN, FRACTIONS = 3.0, 15, 30
NAMES = ("GTVp", "PTV", "SpinalCord", "Esophagus")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", default="1-5")
    options.add_argument("--changes", default="large,small")
    options.add_argument("--week", type=int, default=3)
    asked = options.parse_args()
    first, _, last = asked.seeds.partition("-")
    for change in asked.changes.split(","):
        for seed in range(int(first), int(last or first) + 1):
            one(seed, change, asked.week)


def one(seed: int, change: Change, week: int) -> None:
    """Register one patient's week with his planning CT and tell the errors."""
    patient = adaptive.make(seed, "coarse", change=change)
    scanned = patient.week(week)
    planned = replace(patient.planning, structures=patient.planning.structures)
    started = time.process_time()
    course = Course("planning CT", planned.scan, planned.structures, ())
    today = replace(scanned.case, structures=StructureSet((), scanned.scan.image.grid.frame_of_reference))
    found = registration_of(today, course, StageClock(lambda stage, share: None), lambda: False)
    seconds = time.process_time() - started
    image = scanned.scan.image
    slice_mm = planned.scan.image.grid.spacing_mm[0]
    carried = with_ptv(
        structures_of_today(planned.structures, today.structures, found, image, (), "today's CT", slice_mm), image
    )  # fmt: skip
    # As a person who sees everything would have drawn them on the day.
    drawn = tuple(replace(structure, made_by=()) for structure in scanned.structures)
    true = with_ptv(replace(scanned.structures, structures=drawn), image)
    cloud = dose_by_formula(planned.structures, planned.scan.image)
    grid = image.grid.with_spacing(GRID_MM)
    places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    here = interpolate(cloud, Registration(found.rigid).map_points(places), 0.0)
    told_gy = GIVEN * found.map_image(cloud, grid, 0.0).values + (FRACTIONS - GIVEN) * here
    true_gy = GIVEN * interpolate(cloud, scanned.map.to_planning(places), 0.0) + (FRACTIONS - GIVEN) * here
    told, exact = metrics(carried, told_gy, grid), metrics(true, true_gy, grid)
    same = metrics(true, told_gy, grid)
    print(
        f"seed {seed} {change} week {week}: {seconds:.0f} CPU-s; registration {failures(found) or 'passes'}; by truth "
        f"{scanned.truth['triggers']}, tumour {scanned.truth['tumour_volume_change_percent']} %"
    )
    spacing = (planned.scan.image.grid.spacing_mm[0], image.grid.spacing_mm[0])
    for called, structures in (("carried", carried), ("tumour drawn", true)):
        facts = (
            weight_loss(patient.weight_kg, scanned.weight_kg),
            contour_change(planned.scan.image, image, found, structures),
            tumour_change(planned.structures, structures, spacing),
        )
        triggers = proposals(load("individualised"), with_measured({}, facts, scanned.date)).triggers
        fired = ", ".join(each.entry.id for each in triggers if each.answer == "yes")
        open_ = ", ".join(each.entry.id for each in triggers if each.answer == "unknown")
        print(f"    {called}: fired {fired or 'none'}; unknown {open_}; {facts[1].value} cm; {facts[2].source}")
    for key, value in exact.items():
        print(
            f"    {' '.join(key):24s} true {value:6.2f} Gy, told {told[key]:6.2f} Gy ({told[key] - value:+.2f}), by "
            f"the true contours {same[key]:6.2f} Gy ({same[key] - value:+.2f})",
            flush=True,
        )


def with_ptv(structures: StructureSet, image: Image) -> StructureSet:
    """With a planning volume of 10 mm around the tumour."""
    contours = expand(structures["GTVp"].contours, Margin.uniform(10.0), image.grid.axes_mm()[0])
    return structures.with_structures(Structure("PTV", "PTV", contours, structures.frame_of_reference))


def dose_by_formula(structures: StructureSet, image: Image) -> Image:
    """2 Gy a fraction 14 mm around the tumour, a penumbra of 6 mm, a bath, and no more than 1.4 Gy near the cord."""
    grid = image.grid.with_spacing(GRID_MM)
    target = partial_volume(structures["GTVp"].contours, grid).full() >= 0.5
    cord = partial_volume(structures["SpinalCord"].contours, grid).full() >= 0.5
    beyond, notch = beyond_mm(target, grid) - 14.0, beyond_mm(cord, grid) - 3.0
    high = 2.06 * (
        0.85 * 0.5 * erfc(beyond / (np.sqrt(2.0) * 6.0 / 1.68)) + 0.15 * np.exp(-np.maximum(beyond, 0) / 40.0)
    )
    gy = np.minimum(high, 1.4 + 0.75 * np.clip(notch / 8.0, 0.0, 1.0))
    return Image(grid, gy.astype(np.float32), "Gy")


def beyond_mm(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """Distance to the edge of a mask, mm, negative inside."""
    outside = ndimage.distance_transform_edt(~mask, sampling=grid.spacing_mm)
    inside = ndimage.distance_transform_edt(mask, sampling=grid.spacing_mm)
    found: NDArray[np.float64] = outside - inside
    return found


def metrics(structures: StructureSet, gy: NDArray[np.float64], grid: Grid) -> dict[tuple[str, str], float]:
    """D95% of targets, the cord's maximum and the oesophagus's mean, Gy of the course."""
    dose = Dose(Image(grid, gy.astype(np.float32), "Gy"), "physical", "course", FRACTIONS, None, "formula")
    curves = histograms([structures[name] for name in NAMES], dose, single_slice_thickness_mm=3.0)
    asked = {
        "GTVp": ("D95%[Gy]",), "PTV": ("D95%[Gy]",), "SpinalCord": ("Max[Gy]", "D0.035cc[Gy]"),
        "Esophagus": ("Mean[Gy]",),
    }  # fmt: skip
    return {(name, metric): curves[name].value(metric) for name in NAMES for metric in asked[name]}


if __name__ == "__main__":
    main()
