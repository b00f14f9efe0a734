"""The plan against its comparator: what is better, what is worse, and by which dose."""

import json

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.evaluation import Arm, assess, compare
from tailort.geometry import Grid, Image
from tailort.patient import Constraint, Dose, Normalisation, Prescription, Structure, StructureSet
from tailort.radiobiology import bed, eqd2, geud

FRAME = "1.2.3"
GRID = Grid.axial((31, 31, 31), (2.0,) * 3, (-30.0,) * 3, FRAME)


def box(name, low, high, role="ORGAN") -> Structure:
    (x0, y0, z0), (x1, y1, z1) = low, high
    ring = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)
    contours = tuple(np.column_stack([ring, np.full(4, z)]) for z in np.arange(z0 + 1.0, z1, 2.0))
    return Structure(name, role, contours, FRAME)


GTV = box("GTVp", (-6, -6, -6), (6, 6, 6), "GTV")
CORD = box("SpinalCord", (12, -10, -10), (20, 10, 10))
LUNG = box("Lungs", (-24, -10, -10), (-12, 10, 10))
BODY = box("External", (-28, -28, -28), (28, 28, 28), "EXTERNAL")


def dose(centre, cord, lung, fractions=30) -> Dose:
    """Target from `centre` rising by 0.1 Gy per mm along x; cord and lung uniform."""
    _, _, x = np.meshgrid(*GRID.axes_mm(), indexing="ij")
    values = np.where(x > 9, cord, np.where(x < -9, lung, centre + 0.1 * x)).astype(np.float32)
    return Dose(Image(GRID, values, "Gy"), "physical", "course", fractions, None, "formula")


def arm(label, ptv, prescribed, centre, cord, lung, fractions=30) -> Arm:
    target = box(ptv, (-8, -8, -8), (8, 8, 8), "PTV")
    structures = StructureSet((BODY, GTV, target, CORD, LUNG), FRAME)
    prescription = Prescription(ptv, prescribed, fractions, Normalisation("coverage", metric="D95%[Gy]"))
    return Arm(label, structures, dose(centre, cord, lung, fractions), (prescription,))


SMART = arm("SMART", "PTV66", 66.0, 67.0, 40.0, 15.0)
CONVENTIONAL = arm("conventional", "PTV60", 60.0, 61.0, 44.0, 12.0)
LIMITS = (
    Constraint("SpinalCord", "D0.03cc[Gy]", "<", 45.0, "hard", "R-1"),
    Constraint("SpinalCord", "Max[Gy]", "<", 50.0, "hard", "R-2", quantity="EQD2", alpha_beta_gy=2.0),
    Constraint("Lungs", "V13Gy[%]", "<=", 30.0, "goal", "R-3"),
    Constraint("Lungs", "CV13Gy[%]", ">=", 70.0, "goal", "R-4"),
)


@pytest.fixture(scope="module")
def found():
    return compare(SMART, CONVENTIONAL, LIMITS, tumour_alpha_beta_gy=10.0, target_a=-10.0)


def pick(rows, structure, metric, quantity="physical", per="course"):
    (row,) = [r for r in rows if (r.structure, r.metric, r.quantity, r.per) == (structure, metric, quantity, per)]
    return row


def test_each_prescribed_level_has_its_bed_and_eqd2(found):
    by_target = {level.target: level for level in found.levels}
    assert by_target["PTV66"].eqd2_gy == pytest.approx(67.10, abs=0.005)  # WE-17
    assert by_target["PTV66"].bed_gy == pytest.approx(80.52)
    assert by_target["PTV66"].dose_per_fraction_gy == pytest.approx(2.2)
    assert by_target["PTV60"].eqd2_gy == pytest.approx(60.0)


def test_targets_of_either_plan_are_judged_in_both(found):
    assert {row.structure for row in found.targets} == {"GTVp", "PTV66", "PTV60"}


def test_geud_of_a_target_is_of_converted_samples(found):
    x = -6 + 12 * (np.arange(20_000) + 0.5) / 20_000
    for quantity, convert in (("BED(a/b=10)", bed), ("EQD2(a/b=10)", eqd2)):
        row = pick(found.targets, "GTVp", "gEUD(a=-10)[Gy]", quantity)
        assert row.plan == pytest.approx(geud(convert(67 + 0.1 * x, 30, 10.0), np.ones_like(x), -10), rel=1e-4)
        assert row.comparator == pytest.approx(geud(convert(61 + 0.1 * x, 30, 10.0), np.ones_like(x), -10), rel=1e-4)
        assert (row.lower, row.worse) == ("no", "no")


def test_every_organ_has_its_dose_per_fraction_stated_as_lower_or_not(found):
    for organ, lower in (("SpinalCord", "yes"), ("Lungs", "no")):
        for metric in ("Mean[Gy]", "Max[Gy]"):
            assert pick(found.organs, organ, metric, per="fraction").lower == lower
    row = pick(found.organs, "SpinalCord", "Max[Gy]", per="fraction")
    assert (row.plan, row.comparator) == (pytest.approx(40 / 30, abs=1e-4), pytest.approx(44 / 30, abs=1e-4))


def test_organs_are_neither_the_body_nor_targets(found):
    assert {row.structure for row in found.organs} == {"SpinalCord", "Lungs"}


def test_every_organ_and_metric_that_is_worse_is_named(found):
    assert {(row.structure, row.metric, row.per) for row in found.worse_organs} == {
        ("Lungs", "Mean[Gy]", "fraction"), ("Lungs", "Max[Gy]", "fraction"), ("Lungs", "Mean[Gy]", "course"),
        ("Lungs", "Max[Gy]", "course"), ("Lungs", "V13Gy[%]", "course"), ("Lungs", "CV13Gy[%]", "course"),
    }  # fmt: skip
    assert list(found.worse_by_organ) == ["Lungs"]
    (sentence,) = found.statements
    told = ("Mean[Gy]", "Max[Gy]", "V13Gy[%]", "CV13Gy[%]")
    assert [sentence.count(f" {metric} ") for metric in told] == [1, 1, 1, 1]


def test_where_more_is_wanted_less_is_worse(found):
    row = pick(found.organs, "Lungs", "CV13Gy[%]")
    assert (row.plan, row.comparator, row.lower, row.worse) == (0.0, 100.0, "yes", "yes")


def test_limits_are_compared_in_their_own_quantity(found):
    row = pick(found.organs, "SpinalCord", "Max[Gy]", "EQD2(a/b=2)")
    assert row.plan == pytest.approx(float(eqd2(40.0, 30, 2.0)), abs=1e-3)
    assert row.worse == "no"


def test_the_other_way_round_better_and_worse_change_places(found):
    other = compare(CONVENTIONAL, SMART, LIMITS, tumour_alpha_beta_gy=10.0, target_a=-10.0)
    assert {row.structure for row in other.worse_organs} == {"SpinalCord"}
    for row in found.rows:
        same = pick(other.rows, row.structure, row.metric, row.quantity, row.per)
        assert (same.plan, same.comparator) == (row.comparator, row.plan)


def test_a_plan_against_itself_is_nowhere_lower_and_nowhere_worse():
    same = compare(SMART, SMART, LIMITS, tumour_alpha_beta_gy=10.0, target_a=-10.0)
    assert {row.lower for row in same.rows} == {row.worse for row in same.rows} == {"no"}
    assert same.statements == ("no organ is worse with SMART than with SMART",)


def test_each_plan_is_divided_by_its_own_fractions():
    short = arm("short", "PTV60", 60.0, 61.0, 44.0, 12.0, fractions=20)
    row = pick(compare(SMART, short, (), tumour_alpha_beta_gy=10.0, target_a=-10.0).organs, "SpinalCord", "Max[Gy]",
               per="fraction")  # fmt: skip
    assert row.comparator == pytest.approx(44 / 20, abs=1e-4)


def test_an_organ_outside_the_dose_is_named_as_unknown():
    far = box("Kidney_L", (40, 0, 0), (50, 10, 10))
    structures = SMART.structures.with_structures(far)
    plan = Arm("SMART", structures, SMART.dose, SMART.prescriptions)
    result = compare(plan, CONVENTIONAL, (), tumour_alpha_beta_gy=10.0, target_a=-10.0)
    row = pick(result.organs, "Kidney_L", "Mean[Gy]")
    assert (row.plan, row.lower, row.worse) == (None, "unknown", "unknown")
    assert "outside the dose grid" in row.reason
    assert result.statements[-1] == "not known for Kidney_L"


def test_histograms_that_exist_are_used():
    card = assess(SMART.structures, SMART.dose, LIMITS, SMART.prescriptions)
    plan = Arm("SMART", SMART.structures, SMART.dose, SMART.prescriptions, card.histograms)
    one = compare(plan, CONVENTIONAL, LIMITS, tumour_alpha_beta_gy=10.0, target_a=-10.0)
    other = compare(SMART, CONVENTIONAL, LIMITS, tumour_alpha_beta_gy=10.0, target_a=-10.0)
    assert one.as_dict() == other.as_dict()


def test_the_comparison_is_json(found):
    text = json.dumps(found.as_dict(), allow_nan=False)
    assert len(json.loads(text)["rows"]) == len(found.rows)


def test_unknown_fractions_are_refused():
    unknown = Dose(SMART.dose.image, "physical", "course", None, None, "formula")
    with pytest.raises(InputError, match="fractions"):
        Arm("SMART", SMART.structures, unknown, SMART.prescriptions)
