"""The scorecard: verdicts, what is unknown, what is refused."""

import json

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.evaluation import DEFAULT_METRICS, assess
from tailort.geometry import Grid, Image
from tailort.patient import Constraint, Dose, Normalisation, Prescription, Structure, StructureSet
from tailort.radiobiology import eqd2

FRAME = "1.2.3"


def box(name, low, high, role="ORGAN", frame=FRAME) -> Structure:
    (x0, y0, z0), (x1, y1, z1) = low, high
    ring = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)
    contours = tuple(np.column_stack([ring, np.full(4, z)]) for z in np.arange(z0 + 1.0, z1, 2.0))
    return Structure(name, role, contours, frame)


STRUCTURES = StructureSet(
    (
        box("PTV66", (-10, -10, -10), (10, 10, 10), "PTV"),
        box("PTV54", (-10, 12, -10), (10, 20, 10), "PTV"),
        box("SpinalCord", (14, -10, -10), (20, 10, 10)),
        box("Lens", (-20, -10, -2), (-18, -8, 2)),
        box("Far", (20, -10, -10), (60, 10, 10)),
        Structure("Empty", "ORGAN", (), FRAME),
    ),
    FRAME,
)
PRESCRIPTIONS = (
    Prescription("PTV66", 66.0, 30, Normalisation("coverage", metric="D95%[Gy]")),
    Prescription("PTV54", 54.0, 30, Normalisation("coverage", metric="D95%[Gy]")),
)


def dose(fractions=30, per="course") -> Dose:
    """66 Gy up to x = 12 mm, 40 Gy beyond; the grid ends at x = 41 mm."""
    grid = Grid.axial((31, 31, 41), (2.0,) * 3, (-40.0, -30.0, -30.0), FRAME)
    _, _, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    values = np.where(x < 13, 66.0, 40.0).astype(np.float32)
    return Dose(Image(grid, values, "Gy"), "physical", per, fractions, None, "formula")


def limit(structure, metric, operator, value, priority="hard", **more) -> Constraint:
    return Constraint(structure, metric, operator, value, priority, "RULE-1", **more)


def rows(*constraints, prescriptions=(), **more):
    return assess(STRUCTURES, more.pop("given", dose()), constraints, prescriptions, **more).rows


def test_coverage_of_each_prescription_comes_first_and_is_a_goal():
    high, low = rows(prescriptions=PRESCRIPTIONS)
    assert (high.structure, high.metric, high.operator, high.limit, high.priority) == (
        "PTV66", "D95%[Gy]", ">=", 66.0, "goal",
    )  # fmt: skip
    assert (high.value, high.verdict) == (66.0, "pass")
    assert (low.limit, low.value, low.verdict) == (54.0, 66.0, "pass")


def test_phases_of_one_target_add_to_its_coverage():
    phases = tuple(
        Prescription("PTV66", d, n, Normalisation("coverage", metric="D95%[Gy]"), phase=p)
        for p, (d, n) in enumerate([(50.4, 28), (10.8, 6)], 1)
    )
    (row,) = rows(prescriptions=phases)
    assert row.limit == pytest.approx(61.2)


def test_a_limit_in_eqd2_is_judged_on_phases_with_their_own_fractions():
    # 40 Gy in 30 fractions at alpha/beta 2 Gy is 33.33 Gy EQD2, 40 Gy in 10 is 60 Gy: together 93.33 Gy.
    asked = limit("SpinalCord", "Max[Gy]", "<", 95.0, quantity="EQD2", alpha_beta_gy=2.0)
    physical = limit("SpinalCord", "Max[Gy]", "<", 45.0)
    converted, plain = rows(asked, physical, given=[dose(30), dose(10)])
    assert (converted.value, converted.verdict) == (pytest.approx(40 * (4 / 3 + 2) / 4 + 60, abs=1e-3), "pass")
    assert (plain.value, plain.verdict) == (pytest.approx(80.0, abs=1e-3), "fail")
    (one,) = rows(asked, given=dose(30))
    assert one.value == pytest.approx(40 * (4 / 3 + 2) / 4, abs=1e-3)


@pytest.mark.parametrize(
    ("operator", "value", "verdict"),
    [("<", 45.0, "pass"), ("<", 40.0, "fail"), ("<=", 40.0, "pass"), (">", 40.0, "fail"), (">=", 40.0, "pass")],
)
def test_the_printed_operator_decides_on_the_edge(operator, value, verdict):
    (row,) = rows(limit("SpinalCord", "Max[Gy]", operator, value))
    assert (row.value, row.verdict) == (40.0, verdict)


def test_a_violated_hard_limit_is_a_hard_failure_with_its_excess():
    card = assess(
        STRUCTURES,
        dose(),
        [limit("SpinalCord", "Max[Gy]", "<", 38.5), limit("SpinalCord", "Mean[Gy]", "<", 20.0, "goal")],
        (),
    )
    assert [row.metric for row in card.hard_failures] == ["Max[Gy]"]
    assert card.hard_failures[0].excess == pytest.approx(1.5)
    assert card.rows[1].verdict == "fail"


def test_a_limit_that_only_reports_reports():
    (row,) = rows(limit("SpinalCord", "Mean[Gy]", "<", 10.0, "report"))
    assert (row.value, row.verdict) == (40.0, "report")


def test_limits_in_eqd2_and_bed_are_judged_on_the_converted_dose():
    found = rows(
        limit("SpinalCord", "Max[Gy]", "<", 34.0, quantity="EQD2", alpha_beta_gy=2.0),
        limit("SpinalCord", "Max[Gy]", "<", 60.0, quantity="BED", alpha_beta_gy=2.0),
    )
    assert [row.quantity for row in found] == ["EQD2(a/b=2)", "BED(a/b=2)"]
    assert found[0].value == pytest.approx(float(eqd2(40.0, 30, 2.0)), abs=1e-3)
    assert found[1].value == pytest.approx(66.6667, abs=1e-3)
    assert [row.verdict for row in found] == ["pass", "fail"]


def test_a_dose_of_one_fraction_is_assessed_as_its_course():
    one = dose()
    per_fraction = Dose(one.image.with_values(one.image.values / 30), "physical", "fraction", 30, None, "formula")
    (row,) = rows(limit("SpinalCord", "Max[Gy]", "<", 45.0), given=per_fraction)
    assert row.value == pytest.approx(40.0, abs=1e-3)


@pytest.mark.parametrize(
    ("constraint", "names"),
    [
        (limit("Heart", "Mean[Gy]", "<", 26.0), "'Heart' is needed"),
        (limit("Empty", "Mean[Gy]", "<", 26.0), "no contours"),
        (limit("Lens", "D1cc[Gy]", "<", 26.0), "more than its volume"),
        (limit("SpinalCord", "V95%[%]", "<", 26.0), "2 prescription|there are 2"),
        (limit("SpinalCord", "Max[Gy]", "<", 45.0, scope="cumulative"), "earlier courses"),
        (limit("PTV66", "V95%[%]", ">", 95.0, quantity="EQD2", alpha_beta_gy=10.0), "physical dose only"),
    ],
)
def test_what_cannot_be_judged_is_unknown_with_its_reason(constraint, names):
    row = rows(constraint, prescriptions=PRESCRIPTIONS)[-1]
    assert (row.verdict, row.value) == ("unknown", None)
    assert any(part in row.reason for part in names.split("|"))


def test_unknown_fractions_leave_eqd2_unknown_and_physical_dose_known():
    found = rows(
        limit("SpinalCord", "Max[Gy]", "<", 45.0),
        limit("SpinalCord", "Max[Gy]", "<", 45.0, quantity="EQD2", alpha_beta_gy=2.0),
        given=dose(fractions=None),
    )
    assert [row.verdict for row in found] == ["pass", "unknown"]
    assert "fractions" in found[1].reason


def test_in_a_first_treatment_a_cumulative_limit_is_judged_on_this_course():
    (row,) = rows(limit("SpinalCord", "Max[Gy]", "<", 45.0, scope="cumulative"), first_treatment=True)
    assert (row.scope, row.verdict) == ("cumulative", "pass")


def test_percent_of_a_targets_dose_is_of_its_own_prescription():
    found = rows(
        limit("PTV66", "D50%[%]", ">=", 95.0), limit("PTV54", "D50%[%]", "<=", 107.0), prescriptions=PRESCRIPTIONS
    )
    assert found[2].value == pytest.approx(100.0, abs=1e-3)
    assert found[3].value == pytest.approx(100 * 66 / 54, abs=1e-3)


# "Far" goes from x = 20 to 60, the dose grid to 41: about half of it is outside, the rest has 40 Gy.


@pytest.mark.parametrize(
    ("metric", "operator", "value", "verdict"),
    [
        ("V20Gy[%]", ">", 40.0, "pass"),  # at least half has it
        ("V50Gy[%]", "<", 60.0, "pass"),  # at most the half outside has it
        ("V50Gy[%]", "<", 30.0, "unknown"),
        ("Max[Gy]", "<", 39.0, "fail"),  # 40 Gy is reached inside
        ("Max[Gy]", "<", 45.0, "unknown"),
        ("Mean[Gy]", "<", 45.0, "unknown"),
        ("D20%[Gy]", "<", 39.0, "fail"),
    ],
)
def test_beyond_the_dose_grid_only_what_must_be_so_is_said(metric, operator, value, verdict):
    (row,) = rows(limit("Far", metric, operator, value))
    assert (row.verdict, row.value) == (verdict, None)
    assert "outside the dose grid" in row.reason


def test_metrics_that_are_only_reported_follow_the_limits():
    found = rows(limit("SpinalCord", "Max[Gy]", "<", 45.0), metrics={"Lens": DEFAULT_METRICS})
    assert len(found) == 1 + len(DEFAULT_METRICS)
    by_metric = {row.metric: row for row in found[1:]}
    assert by_metric["Volume[cc]"].value == pytest.approx(0.016, rel=1e-3)
    assert by_metric["Mean[Gy]"].verdict == "report"
    for too_large in ("D1cc[Gy]", "D0.035cc[Gy]", "D0.03cc[Gy]"):
        assert by_metric[too_large].verdict == "unknown"
        assert "more than its volume" in by_metric[too_large].reason


def test_the_card_is_json_without_anything_that_is_not_a_number():
    card = assess(
        STRUCTURES, dose(), [limit("Far", "Max[Gy]", "<", 45.0)], PRESCRIPTIONS, metrics={"Far": DEFAULT_METRICS}
    )
    text = json.dumps(card.as_dict(), allow_nan=False)
    keys = {"structure", "metric", "quantity", "scope", "value", "operator", "limit", "priority", "verdict", "source"}
    assert all(keys <= set(row) for row in json.loads(text)["metrics"])


def test_each_histogram_is_kept_for_the_files():
    card = assess(STRUCTURES, dose(), [limit("SpinalCord", "Max[Gy]", "<", 45.0)], PRESCRIPTIONS)
    assert set(card.histograms) == {"PTV66", "PTV54", "SpinalCord"}
    assert card.histograms["SpinalCord"].value("Max[Gy]") == pytest.approx(40.0)


def test_a_dose_in_eqd2_is_refused():
    bad = Dose(dose().image, "EQD2", "course", 30, 3.0, "formula")
    with pytest.raises(InputError, match="physical"):
        assess(STRUCTURES, bad, [], [])


def test_a_prescription_normalised_by_a_volume_is_refused():
    odd = Prescription("PTV66", 66.0, 30, Normalisation("coverage", metric="V95%[%]"))
    with pytest.raises(InputError, match="expected a dose"):
        rows(prescriptions=(odd,))


def test_a_plan_normalised_to_its_coverage_passes_it_as_stated():
    # 65.99997 Gy is stated, and judged, as 66.0000 Gy.
    image = dose().image
    low = Dose(image.with_values(image.values * np.float32(1 - 5e-7)), "physical", "course", 30, None, "formula")
    row = rows(prescriptions=PRESCRIPTIONS[:1], given=low)[0]
    assert (row.value, row.verdict) == (66.0, "pass")
