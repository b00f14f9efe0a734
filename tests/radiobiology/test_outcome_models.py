"""The packaged sets of outcome parameters: what they tell of themselves, for what they hold, what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tailort.errors import InputError
from tailort.patient import Constraint, Metric
from tailort.radiobiology import Exposure, eqd2, in_its_quantity, outcome_set, outcome_sets, set_of, sets_for

SETS = list(outcome_sets().values())
PAGE = Path(__file__).parents[2] / "docs" / "outcome-models.md"
N = 5
each = pytest.mark.parametrize("by", SETS, ids=[one.id for one in SETS])
dose = arrays(np.float64, N, elements=st.floats(5.0, 75.0), unique=True)


@each
def test_every_set_tells_its_source_marks_and_what_is_unknown(by) -> None:
    assert by.version
    assert by.endpoint
    assert by.mark in ("lit-recalled", "lit-verified", "derived")
    assert by.rules
    assert (by.alpha_beta_gy is None) == (by.quantity == "physical")
    assert by.doi or "demonstration" in by.id
    assert str(Metric.parse(by.metric)) == by.metric
    assert set_of(Metric.parse(by.metric), by.organs[0] if by.organs else "GTVp") is by


@each
@given(dose=dose)
@settings(max_examples=15)
def test_gradients_by_the_physical_dose_are_those_of_the_values(by, dose) -> None:
    volumes, h = np.linspace(0.5, 1.5, N), 1e-4
    difference = [
        (by.effect(dose + h * e, 28, volumes) - by.effect(dose - h * e, 28, volumes)) / (2 * h) for e in np.eye(N)
    ]
    if not (by.model == "logistic-on-maximum" and np.diff(np.sort(dose))[-1] < 1e-3):
        np.testing.assert_allclose(by.gradient(dose, 28, volumes), difference, rtol=2e-4, atol=1e-7)


@each
@given(percent=st.floats(5.0, 80.0))
@settings(max_examples=15)
def test_a_level_is_the_dose_of_its_effect(by, percent) -> None:
    assert 100 * by.response.effect([by.level_gy(percent)], [1.0]) == pytest.approx(percent, rel=1e-6)


def test_every_voxel_is_converted_before_anything_is_averaged() -> None:
    by, dose = outcome_set("lung-quantec"), [10.0, 50.0]
    mean = float(eqd2(dose, 25, 3.0).mean())
    assert by.effect(dose, 25, [1.0, 1.0]) == pytest.approx(1 / (1 + np.exp(3.87 - 0.126 * mean)))
    # RB-31: the other order underestimates.
    assert by.effect(dose, 25, [1.0, 1.0]) > by.effect([30.0, 30.0], 25, [1.0, 1.0])
    physical = outcome_set("lung-quantec-physical")
    assert physical.effect(dose, 25, [1.0, 1.0]) == pytest.approx(1 / (1 + np.exp(3.87 - 0.126 * 30.0)))


def test_an_unknown_set_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match="no set of outcome parameters 'lung'; known are lung-quantec, "):
        outcome_set("lung")


@pytest.mark.parametrize(
    ("metric", "structure", "says"),
    [
        ("NTCP(lung-quantec)[%]", "Heart", "is for Lungs, Lungs-GTV.*for 'Heart' there are: NTCP"),
        ("NTCP(lung-quantec)[%]", "Lung_L", "there are: none"),
        ("NTCP(lung-quantec)[%]", "Lungs-PTV^2cm", "there are: none"),
        ("NTCP(myelopathy-schultheiss-2008)[%]", "SpinalCord_PRV05", "is for SpinalCord;"),
        ("TCP(oesophagus-demonstration)[%]", "Heart", "is for targets"),
        ("TCP(lung-quantec)[%]", "Lungs", r"this set gives NTCP, not TCP; ask for NTCP\(lung-quantec\)"),
        ("NTCP(coronary-darby-2013)[%]", "Heart", "this set gives ERR"),
    ],
)
def test_a_set_is_refused_for_what_it_was_not_made_for(metric: str, structure: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        set_of(Metric.parse(metric), structure)


def test_organs_are_found_by_their_names_in_any_case() -> None:
    assert {one.id for one in sets_for("HEART")} >= {"cardiac-death-gagliardi-1996", "coronary-darby-2013"}
    assert {one.outcome for one in sets_for("GTVp")} == {"TCP"}
    assert sets_for("Liver") == ()


def test_a_constraint_takes_the_quantity_of_its_set() -> None:
    asked = Constraint("Lungs", "NTCP(lung-quantec)[%]", "<", 20.0, "goal", "test")
    assert in_its_quantity(asked).label == "EQD2(a/b=3)"
    assert in_its_quantity(in_its_quantity(asked)) == in_its_quantity(asked)
    plain = replace(asked, metric="Mean[Gy]")
    assert in_its_quantity(plain) is plain
    with pytest.raises(InputError, match=r"its set has its own dose, EQD2\(a/b=3\)"):
        in_its_quantity(replace(asked, quantity="EQD2", alpha_beta_gy=2.0))


KNOWN = replace(outcome_set("lung-quantec"), fraction_gy=(1.8, 2.2))
INSIDE = Exposure((2.0,), 2.1, 15.0)


def test_inside_everything_that_is_known_nothing_is_extrapolated() -> None:
    assert KNOWN.extrapolated(INSIDE) == "no"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"equivalent_gy": 30.0}, "yes: 30 Gy is outside the 7 to 27 Gy it was fitted to"),
        ({"prescribed_fraction_gy": (2.0, 3.0)}, "yes: 3 Gy per fraction is outside the 1.8 to 2.2 Gy"),
        ({"prescribed_fraction_gy": ()}, "unknown: the prescribed dose per fraction is not known"),
        ({"highest_fraction_gy": 12.0}, "yes: 12 Gy in one fraction is above the 8 Gy"),
        ({"several_courses": True}, "yes: the dose is that of several courses"),
    ],
)
def test_outside_of_what_a_set_was_fitted_to_is_said_with_the_reason(change, says: str) -> None:
    assert KNOWN.extrapolated(replace(INSIDE, **change)).startswith(says)


@pytest.mark.parametrize(
    ("after", "answer"),
    [
        (True, "yes: patients after oesophagectomy are outside"),
        (None, "unknown: whether"),
        (False, "unknown: the doses"),
    ],
)
def test_patients_without_their_oesophagus_are_outside_of_its_models(after, answer: str) -> None:
    for name in ("oesophagitis-chapet-2005", "oesophagitis-belderbos-2005", "oesophagus-stricture-burman-1991"):
        assert outcome_set(name).extrapolated(replace(INSIDE, after_oesophagectomy=after)).startswith(answer)


@each
def test_a_range_that_the_reference_does_not_tell_is_unknown_not_inside(by) -> None:
    found = by.extrapolated(Exposure((2.0,), 2.0, 15.0, after_oesophagectomy=False))
    assert found.startswith("unknown: ")
    assert "the doses per fraction that it was fitted to are not recorded" in found


@pytest.mark.parametrize(
    "change",
    [
        {"source": ""},
        {"mark": ""},
        {"alpha_beta_mark": ""},
        {"model": "spline"},
        {"alpha_beta_gy": None},
        {"equivalent_gy": (9.0, 3.0)},
    ],
)
def test_a_set_that_does_not_tell_what_it_is_is_refused(change) -> None:
    with pytest.raises(InputError):
        replace(outcome_set("lung-quantec"), **change)


@each
def test_the_page_tells_every_set_as_it_is(by) -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{by.id}`")]
    assert rows == [row_of(by)], f"expected {row_of(by)}"


def row_of(by) -> str:
    parameters = ", ".join(f"{name} {value:g}" for name, value in by.parameters.items())
    fitted = "unknown" if by.equivalent_gy is None else f"{by.equivalent_gy[0]:g} to {by.equivalent_gy[1]:g} Gy"
    outside = "; not after oesophagectomy" if by.not_after_oesophagectomy else ""
    organs = ", ".join(by.organs) if by.organs else "targets"
    return (
        f"| `{by.id}` | {by.outcome} | {organs} | {by.endpoint} | {by.model}: {parameters} | {by.label} | "
        f"{by.source} | {by.every_mark} | {fitted}{outside} |"
    )
