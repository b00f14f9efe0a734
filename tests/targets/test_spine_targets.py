"""Targets of the protocol reirradiation-spine on virtual patients whose sectors are known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tailort.geometry import intersect, subtract, unite, volume_cm3
from tailort.patient import Structure, StructureSet
from tailort.phantom import VirtualPatient, spine
from tailort.protocols import for_patient, load, read_record
from tailort.targets import derive

Contours = tuple[np.ndarray, ...]
QUICK, SLOW = [1], [seed for seed in range(20) if seed != 1]
SEEDS = [*QUICK, *(pytest.param(seed, marks=pytest.mark.slow) for seed in SLOW)]


# Beside what the seeds draw, a tumour all round the cord.
ALL_ROUND = 102
SEEDS.append(pytest.param(ALL_ROUND, marks=pytest.mark.slow))


@cache
def patient(seed: int) -> VirtualPatient:
    return spine.make(seed, "coarse", bilsky="3" if seed == ALL_ROUND else None)


@cache
def derived(seed: int) -> StructureSet:
    made = patient(seed)
    protocol = for_patient(load("reirradiation-spine"), read_record(made.record))
    return derive(protocol.target_steps(), made.structures, planes(seed))


def planes(seed: int) -> np.ndarray:
    z: np.ndarray = patient(seed).scan.image.grid.axes_mm()[0]
    return z


def cm3(contours: Contours) -> float:
    return float(volume_cm3(contours, single_slice_thickness_mm=1.0)) if contours else 0.0


def true_sectors(seed: int) -> dict[str, Contours]:
    """Sectors of the vertebra with the metastasis by the names that constructed ones have."""
    truth = patient(seed).truth
    level = truth["parameters"]["vertebra"]
    return {
        name if "^" in name else f"{name}^Body": tuple(np.array(ring) for ring in drawn["contours_mm"])
        for name, drawn in truth["sectors"].items()
        if name.partition("^")[0] == level
    }


def dice(one: Contours, other: Contours, seed: int) -> float:
    shared = intersect(one, other, planes(seed), "half_slice", 1.0)
    return 2 * cm3(shared) / (cm3(one) + cm3(other))


def expected(seed: int) -> set[str]:
    """Sectors of the CTV: body and both pedicles, the lamina beside an involved pedicle; all of them for grade 3."""
    truth = patient(seed).truth
    level, pedicle = truth["parameters"]["vertebra"], truth["metastasis"]["pedicle"]
    names = {"Body", "PedL", "PedR"} | {"left": {"LamL"}, "right": {"LamR"}, "none": set()}[pedicle]
    if truth["metastasis"]["bilsky_grade"] == "3":
        names = {"Body", "PedL", "PedR", "LamL", "LamR", "SP"}
    return {f"{level}^{name}" for name in names}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_ctv_is_made_of_the_sectors_that_the_tumour_calls_for(seed: int) -> None:
    got = derived(seed)
    ctv = got["CTV_2400"].contours
    whole = {name for name in true_sectors(seed) if _inside(got[name], ctv, seed)}
    assert whole == expected(seed)


def _inside(sector: Structure, ctv: Contours, seed: int) -> bool:
    left = subtract(sector.contours, ctv, planes(seed), "half_slice", 1.0)
    return cm3(left) < 0.01 * cm3(sector.contours)


@pytest.mark.parametrize("seed", SEEDS)
def test_constructed_sectors_lie_where_the_true_ones_are(seed: int) -> None:
    got = derived(seed)
    for name, true in true_sectors(seed).items():
        # The borders behind the canal are a convention; the body is the body.
        least = 0.9 if name.endswith("Body") else 0.65
        assert dice(got[name].contours, true, seed) > least, name


@pytest.mark.parametrize("seed", SEEDS)
def test_the_ctv_is_the_true_sectors_and_the_tumour(seed: int) -> None:
    true: Contours = patient(seed).structures["GTV"].contours
    for name in expected(seed):
        true = unite(true, true_sectors(seed)[name], planes(seed), "half_slice", 1.0)
    assert dice(derived(seed)["CTV_2400"].contours, true, seed) > 0.9


@pytest.mark.parametrize("seed", SEEDS)
def test_targets_lie_in_each_other_and_ptv_eval_spares_the_cord_prv(seed: int) -> None:
    got = derived(seed)
    z = planes(seed)
    for inner, outer in (("GTV", "CTV_2400"), ("CTV_2400", "PTV_2400"), ("PTV_Eval", "PTV_2400")):
        left = subtract(got[inner].contours, got[outer].contours, z, "half_slice", 1.0)
        assert cm3(left) < 0.01, (inner, outer)
    both = intersect(got["PTV_Eval"].contours, got["SpinalCord_PRV"].contours, z, "half_slice", 1.0)
    assert cm3(both) < 0.01
    assert 0.3 * cm3(got["PTV_2400"].contours) < cm3(got["PTV_Eval"].contours) < cm3(got["PTV_2400"].contours)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_target_tells_how_it_was_made(seed: int) -> None:
    got = derived(seed)
    level = patient(seed).truth["parameters"]["vertebra"]
    ctv = " ".join(got["CTV_2400"].made_by)
    assert f"{level}: tumour in Body" in ctv
    assert "to be reviewed" in ctv
    assert "KO-51" in ctv
    assert "2 mm in all directions [KO-54]" in " ".join(got["PTV_2400"].made_by)
    assert "1.5 mm in all directions" in " ".join(got["SpinalCord_PRV"].made_by)
    assert "less SpinalCord_PRV" in " ".join(got["PTV_Eval"].made_by)
