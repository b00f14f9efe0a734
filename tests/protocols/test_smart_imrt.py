"""The library file smart-imrt says what its sources say, and nothing more."""

from __future__ import annotations

from importlib import resources

import pytest

from tailort.errors import MissingStructureError, ProtocolError
from tailort.patient import Structure, StructureSet
from tailort.protocols import load, parse
from tailort.protocols.treatment import prescribed_doses

SMART = load("smart-imrt")
TEXT = (resources.files("tailort.protocols") / "library" / "smart-imrt.yaml").read_text(encoding="utf-8")

# Marks of the rules in the reference to the five source protocols, section 1.
MARKS = {
    "SM-01": "seed", "SM-02": "seed", "SM-03": "seed", "SM-04": "seed", "SM-05": "seed", "SM-06": "seed",
    "SM-07": "lit-verified", "SM-08": "lit-recalled", "SM-09": "lit-recalled", "SM-10": "lit-verified",
    "SM-11": "lit-recalled", "SM-12": "ambiguous", "SM-13": "derived",
}  # fmt: skip


@pytest.mark.parametrize(("rule", "mark"), MARKS.items())
def test_every_rule_of_the_source_is_there_with_its_mark(rule: str, mark: str) -> None:
    assert SMART.rule(rule).mark == mark


def test_it_waits_for_a_clinician() -> None:
    assert SMART.status == "needs-clinician-confirmation"


def test_it_prescribes_66_and_54_gy_in_the_same_30_fractions() -> None:
    told = {p.target: (p.dose_gy, p.fractions, p.phase, p.normalisation.metric) for p in SMART.prescriptions()}
    assert told == {"PTV_6600": (66.0, 30, 1, "D95%[Gy]"), "PTV_5400": (54.0, 30, 1, "D95%[Gy]")}


def test_bed_and_eqd2_of_its_levels_are_the_printed_ones() -> None:
    levels = {dose.target: dose for dose in prescribed_doses(SMART.file)}
    assert levels["PTV_6600"].bed_gy == pytest.approx(80.52, abs=0.005)
    assert levels["PTV_6600"].eqd2_gy == pytest.approx(67.10, abs=0.005)
    assert levels["PTV_5400"].eqd2_gy == pytest.approx(53.10, abs=0.005)
    assert {level.alpha_beta_gy for level in levels.values()} == {10.0}


def test_it_passes_its_own_checks_and_shows_them() -> None:
    assert {check.rule for check in SMART.checks()} == {"SM-13"}
    assert len(SMART.checks()) == 4
    assert all(check.holds for check in SMART.checks())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("target: PTV_6600, dose_gy: 66, fractions: 30", "target: PTV_6600, dose_gy: 60, fractions: 30"),
        ("target: PTV_5400, dose_gy: 54, fractions: 30", "target: PTV_5400, dose_gy: 50.4, fractions: 30"),
        ("target: PTV_5400, dose_gy: 54, fractions: 30", "target: PTV_5400, dose_gy: 60.3, fractions: 30"),
        ("target: PTV_5400, dose_gy: 54, fractions: 30", "target: PTV_5400, dose_gy: 54, fractions: 28"),
    ],
)
def test_a_prescription_that_breaks_sm_13_is_not_accepted(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(ProtocolError, match=r"changed.yaml, line \d+"):
        parse(TEXT.replace(old, new), "changed.yaml")


def test_54_gy_in_30_fractions_is_exactly_1_8_gy_and_60_gy_exactly_2() -> None:
    parse(TEXT.replace("target: PTV_5400, dose_gy: 54", "target: PTV_5400, dose_gy: 60"), "changed.yaml")


# Operators and numbers as printed for the salvage trial, MS-70 to MS-74.
LIMITS = {
    ("SpinalCord", "Max[Gy]"): ("<", 45.0, "hard", "MS-70"),
    ("Lungs-GTV", "V20Gy[%]"): ("<=", 28.0, "goal", "MS-71"),
    ("Lungs-GTV", "Mean[Gy]"): ("<=", 17.0, "goal", "MS-72"),
    ("Heart", "V40Gy[%]"): ("<", 30.0, "goal", "MS-73"),
    ("Stomach", "V40Gy[%]"): ("<=", 40.0, "goal", "MS-74"),
    ("Stomach", "D0.03cc[Gy]"): ("<=", 56.7, "goal", "MS-75"),
}


@pytest.mark.parametrize(("what", "told"), LIMITS.items())
def test_the_borrowed_limits_are_those_of_the_salvage_trial(
    what: tuple[str, str], told: tuple[str, float, str, str]
) -> None:
    (limit,) = [c for c in SMART.constraints() if (c.structure, c.metric) == what]
    operator, value, priority, rule = told
    assert (limit.operator, limit.limit, limit.priority) == (operator, pytest.approx(value), priority)
    assert limit.source.startswith(f"{rule}: ")


def test_every_limit_is_marked_borrowed_because_the_trial_prints_none() -> None:
    assert {limit.mark for limit in SMART.constraints()} == {"borrowed"}


def test_a_cord_at_exactly_45_gy_fails() -> None:
    (cord,) = [c for c in SMART.constraints() if c.structure == "SpinalCord"]
    assert not cord.holds(45.0)
    assert cord.holds(44.999)


def test_whole_lungs_are_reported_beside_the_lungs_without_gtv_that_are_judged() -> None:
    priority = {(c.structure, c.metric): c.priority for c in SMART.constraints() if c.structure.startswith("Lungs")}
    assert set(priority.values()) == {"goal", "report"}
    assert all(p == ("goal" if name == "Lungs-GTV" else "report") for (name, _), p in priority.items())


def test_the_comparator_is_60_gy_in_30_fractions_under_the_same_organ_limits() -> None:
    other = SMART.comparator()
    assert other is not None
    assert [(p.target, p.dose_gy, p.fractions) for p in other.prescriptions] == [("PTV_6000", 60.0, 30)]
    organs = {(c.structure, c.metric, c.operator) for c in SMART.constraints() if not c.structure.startswith("PTV")}
    assert organs == {(c.structure, c.metric, c.operator) for c in other.constraints if c.structure != "PTV_6000"}
    assert not any(c.structure in ("PTV_6600", "PTV_5400") for c in other.constraints)
    (hot,) = [c for c in other.constraints if c.metric == "D0.03cc[Gy]"]
    assert hot.limit == pytest.approx(63.0)


def test_nine_beams_are_spread_evenly() -> None:
    assert SMART.technique.gantry_angles_deg() == (0, 40, 80, 120, 160, 200, 240, 280, 320)


def structures(*names: str) -> StructureSet:
    square = [[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]]
    return StructureSet(tuple(Structure(name, "ORGAN", (square,), "1.2.3") for name in names), "1.2.3")  # type: ignore[arg-type]


def test_a_case_with_tumour_organs_and_single_lungs_is_enough() -> None:
    SMART.require_structures(structures("External", "SpinalCord", "Lung_L", "Lung_R", "Heart", "GTVp"))


def test_everything_that_is_missing_is_told_at_once_with_what_is_there() -> None:
    with pytest.raises(MissingStructureError) as caught:
        SMART.require_structures(structures("External", "Lung_L", "Heart"))
    told = str(caught.value)
    for name in ("SpinalCord", "Lung_R", "GTVp"):
        assert f"'{name}'" in told
    assert "'GTVn'" not in told
    assert "External, Lung_L, Heart" in told
