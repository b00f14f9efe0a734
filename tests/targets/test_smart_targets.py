"""The recipe of smart-imrt on a virtual patient."""

from __future__ import annotations

import numpy as np
import pytest
from target_shapes import left_over_cm3

from tailort.patient import StructureSet
from tailort.phantom import make
from tailort.protocols import decide, load
from tailort.targets import derive

SMART = load("smart-imrt")


@pytest.fixture(scope="module")
def patient() -> tuple[StructureSet, np.ndarray]:
    virtual = make("oesophagus", seed=1, size="coarse")
    assert decide(SMART, virtual.facts).answer == "yes"
    return virtual.structures, virtual.scan.image.grid.axes_mm()[0]


@pytest.fixture(scope="module")
def made(patient: tuple[StructureSet, np.ndarray]) -> StructureSet:
    structures, planes = patient
    SMART.require_structures(structures)
    other = SMART.comparator()
    assert other is not None
    return derive(other.target_steps, structures, planes)


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ("GTVp", "PTV_6600"),
        ("GTVn", "PTV_6600"),
        ("GTVp", "CTV"),
        ("GTVn", "CTV"),
        ("CTV", "PTV_5400"),
        ("PTV_6600", "PTV_5400"),
        ("CTV", "PTV_6000"),
        ("Lungs-GTV", "Lungs"),
    ],
)
def test_volumes_lie_within_each_other(
    patient: tuple[StructureSet, np.ndarray], made: StructureSet, inner: str, outer: str
) -> None:
    _, planes = patient
    assert left_over_cm3(made[inner], made[outer], planes) < 0.02


def test_both_plans_have_the_same_elective_volume(patient: tuple[StructureSet, np.ndarray], made: StructureSet) -> None:
    _, planes = patient
    assert left_over_cm3(made["PTV_5400"], made["PTV_6000"], planes) < 0.001
    assert left_over_cm3(made["PTV_6000"], made["PTV_5400"], planes) < 0.001


def test_the_ctv_reaches_2_cm_beyond_the_tumour_along_the_body(made: StructureSet) -> None:
    tumour, ctv = made["GTVp"].slice_positions_mm, made["CTVp"].slice_positions_mm
    assert tumour.min() - ctv.min() == pytest.approx(20, abs=1e-6)
    assert ctv.max() - tumour.max() == pytest.approx(20, abs=1e-6)


def test_every_target_names_a_rule_of_the_protocol(made: StructureSet) -> None:
    for name in ("CTV", "PTV_6600", "PTV_5400", "PTV!_5400", "PTV_6000"):
        cited = [line[line.index("[") + 1 : -1].split(", ") for line in made[name].made_by if line.endswith("]")]
        assert cited
        for rule in (rule for rules in cited for rule in rules):
            assert SMART.rule(rule).id == rule


def test_lungs_are_made_of_both_lungs_when_they_are_not_drawn(patient: tuple[StructureSet, np.ndarray]) -> None:
    structures, planes = patient
    apart = StructureSet(tuple(s for s in structures if s.name != "Lungs"), structures.frame_of_reference)
    made = derive(SMART.target_steps()[:1], apart, planes)
    assert made["Lungs"].made_by[0] == "union of Lung_L, Lung_R [MS-79]"
    assert left_over_cm3(made["Lungs"], structures["Lungs"], planes) < 1.0
    assert left_over_cm3(structures["Lungs"], made["Lungs"], planes) < 1.0
