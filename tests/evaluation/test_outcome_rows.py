"""TCP and NTCP on the scorecard: values, what is unknown, what is extrapolated, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.evaluation import EarlierCourse, assess, dvh
from tailort.evaluation.outcome import equivalent_gy, outcome_bounds
from tailort.geometry import Grid, Image
from tailort.patient import Constraint, Dose, Normalisation, Prescription, Structure, StructureSet
from tailort.radiobiology import outcome_set

FRAME = "1.2.3"
NTCP, CORD, TCP = "NTCP(lung-quantec)[%]", "NTCP(myelopathy-schultheiss-2008)[%]", "TCP(oesophagus-demonstration)[%]"


def box(name, low_x, high_x, role="ORGAN") -> Structure:
    ring = np.array([[low_x, -10], [high_x, -10], [high_x, 10], [low_x, 10]], dtype=float)
    contours = tuple(np.column_stack([ring, np.full(4, z)]) for z in np.arange(-9.0, 10.0, 2.0))
    return Structure(name, role, contours, FRAME)


STRUCTURES = StructureSet(
    (
        box("Lungs", -20, -4),
        box("SpinalCord", 4, 12),
        box("GTVp", 4, 12, "GTV"),
        box("Esophagus", 4, 12),
        box("Heart", 14, 40),
    ),
    FRAME,
)
RX = (Prescription("GTVp", 50.0, 25, Normalisation("coverage", metric="D95%[Gy]")),)


def dose(fractions: int | None = 25, left: float = 20.0, right: float = 50.0) -> Dose:
    """`left` Gy at x < 0 and `right` Gy beyond; the grid ends at x = 31 mm."""
    grid = Grid.axial((21, 21, 31), (2.0,) * 3, (-30.0, -20.0, -20.0), FRAME)
    _, _, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    return Dose(
        Image(grid, np.where(x < 0, left, right).astype(np.float32), "Gy"),
        "physical",
        "course",
        fractions,
        None,
        "formula",
    )


def limit(structure, metric, operator="<=", value=20.0, priority="hard", **more) -> Constraint:
    return Constraint(structure, metric, operator, value, priority, "RULE-1", **more)


def row(constraint, given=None, **more):
    return assess(STRUCTURES, given or dose(), [constraint], RX, **more).rows[-1]


def test_a_risk_is_that_of_the_eqd2_of_each_voxel() -> None:
    found = row(limit("Lungs", NTCP))
    # 20 Gy in 25 fractions are 20 (0.8 + 3) / 5 = 15.2 Gy EQD2.
    assert found.value == pytest.approx(100 / (1 + np.exp(3.87 - 0.126 * 15.2)), abs=1e-3)
    assert (found.quantity, found.verdict, found.excess) == ("EQD2(a/b=3)", "pass", None)
    assert "RULE-1; lung-quantec version 1: symptomatic radiation pneumonitis; Marks et al. 2010" in found.source
    assert found.mark == "lit-recalled; dose ambiguous"
    assert found.extrapolated == "unknown: the doses per fraction that it was fitted to are not recorded"
    assert found.as_dict()["extrapolated"] == found.extrapolated


def test_control_is_that_of_the_targets() -> None:
    found = row(limit("GTVp", TCP, ">=", 49.0, "goal"))
    # 50 Gy in fractions of 2 Gy is D50.
    assert (found.value, found.verdict) == (pytest.approx(50.0, abs=1e-3), "pass")
    assert found.mark == "lit-recalled; a/b seed"


def test_a_limit_keeps_its_own_mark_beside_that_of_the_model() -> None:
    assert row(limit("Lungs", NTCP, mark="site")).mark == "site; model lit-recalled; dose ambiguous"


@pytest.mark.parametrize(
    ("operator", "value", "verdict"), [("<=", 10.0, "fail"), ("<", 20.0, "pass"), (">=", 10.0, "pass")]
)
def test_the_printed_operator_decides(operator, value, verdict) -> None:
    found = row(limit("Lungs", NTCP, operator, value))
    assert found.verdict == verdict
    assert (found.excess is not None) == (verdict == "fail")


def test_without_the_fractions_a_risk_is_unknown_also_where_its_dose_is_physical() -> None:
    for metric in (NTCP, "NTCP(lung-quantec-physical)[%]"):
        found = row(limit("Lungs", metric), dose(None))
        assert (found.value, found.verdict) == (None, "unknown")
        assert "fractions" in found.reason
        assert found.extrapolated.startswith("unknown")


def test_a_metric_that_is_only_reported_has_no_limit() -> None:
    card = assess(STRUCTURES, dose(), (), RX, metrics={"SpinalCord": (CORD, "Max[Gy]")})
    cord, highest = card.rows[1:]
    assert (cord.metric, cord.operator, cord.limit, cord.verdict, cord.priority) == (
        CORD,
        None,
        None,
        "report",
        "report",
    )
    # 50 Gy in 25 fractions is 50 Gy EQD2: 0.2 %, the point to which the slope was fitted.
    assert cord.value == pytest.approx(0.2, abs=0.01)
    assert cord.source.startswith("myelopathy-schultheiss-2008 version 1")
    assert highest.extrapolated == ""


def test_phases_count_with_their_own_fractions() -> None:
    found = row(limit("Lungs", NTCP), [dose(25), dose(5, left=10.0)])
    mean = 20 * (0.8 + 3) / 5 + 10 * (2 + 3) / 5
    assert found.value == pytest.approx(100 / (1 + np.exp(3.87 - 0.126 * mean)), abs=1e-3)


def test_outside_of_what_was_fitted_is_extrapolated_with_the_reason() -> None:
    assert row(limit("Lungs", NTCP), dose(25, left=5.0)).extrapolated.startswith(
        "yes: 3.2 Gy is outside the 7 to 27 Gy"
    )
    hot = row(limit("SpinalCord", CORD), dose(2, right=24.0))
    assert hot.extrapolated.startswith("yes: 12 Gy in one fraction is above the 8 Gy")
    phases = row(limit("SpinalCord", CORD), [dose(25), dose(1, right=10.0)])
    assert phases.extrapolated.startswith("yes: 10 Gy in one fraction")


@pytest.mark.parametrize(
    ("after", "answer"), [(True, "yes: patients after"), (None, "unknown: whether the"), (False, "unknown: the")]
)
def test_after_oesophagectomy_models_of_the_oesophagus_are_extrapolated(after, answer) -> None:
    asked = limit("Esophagus", "NTCP(oesophagitis-chapet-2005)[%]")
    assert row(asked, after_oesophagectomy=after).extrapolated.startswith(answer)


def test_the_sum_of_courses_is_judged_and_extrapolated() -> None:
    asked = limit("Lungs", NTCP, scope="cumulative")
    assert row(asked).verdict == "unknown"
    found = row(asked, earlier=[EarlierCourse("earlier", (dose(5, left=10.0),), None, "as planned")])
    mean = 20 * (0.8 + 3) / 5 + 10 * (2 + 3) / 5
    assert found.value == pytest.approx(100 / (1 + np.exp(3.87 - 0.126 * mean)), abs=1e-3)
    assert found.extrapolated.startswith("yes: the dose is that of several courses")


def test_what_lies_beyond_the_dose_grid_may_be_anything() -> None:
    found = row(limit("Heart", "NTCP(pericarditis-martel-1998)[%]"))
    assert (found.value, found.verdict) == (None, "unknown")
    assert "outside the dose grid" in found.reason
    heart = dvh(STRUCTURES["Heart"], dose())
    low, high = outcome_bounds(heart, outcome_set("pericarditis-martel-1998"))
    assert 0 <= low < 60
    assert high == 100.0
    assert outcome_bounds(heart, outcome_set("coronary-darby-2013"))[1] == np.inf


def test_a_dose_that_is_known_by_bounds_gives_bounds() -> None:
    most, least = dvh(STRUCTURES["Lungs"], dose()), dvh(STRUCTURES["Lungs"], dose(left=10.0))
    assert replace(most, least=least).bounds(NTCP) == (least.bounds(NTCP)[0], most.bounds(NTCP)[0])


def test_the_dose_of_one_fraction_has_no_outcome() -> None:
    one = dvh(STRUCTURES["Lungs"], replace(dose(), per="fraction"))
    with pytest.raises(InputError, match="of a course"):
        equivalent_gy(one, outcome_set("lung-quantec-physical"))


@pytest.mark.parametrize(
    ("structure", "metric", "says"),
    [
        ("Lungs", "NTCP(lungs)[%]", "no set of outcome parameters 'lungs'; known are"),
        ("Heart", NTCP, "is for Lungs"),
        ("SpinalCord", TCP, "is for targets"),
    ],
)
def test_a_set_that_is_not_known_or_not_for_the_structure_is_refused(structure, metric, says) -> None:
    with pytest.raises(InputError, match=says):
        row(limit(structure, metric))
    with pytest.raises(InputError, match=says):
        assess(STRUCTURES, dose(), (), (), metrics={structure: (metric,)})
