"""The library files rtog-e0113 and rtog-9405 say what the technique's text says, with its marks."""

from __future__ import annotations

from functools import cache
from importlib import resources

import pytest

from tailort.errors import MissingStructureError, ProtocolError, UndecidedError
from tailort.patient import Structure, StructureSet
from tailort.protocols import Protocol, after_hand_over, decide, for_patient, joined, load, parse, read_record

E0113, HIGH_DOSE = load("rtog-e0113"), load("rtog-9405")
BOTH = pytest.mark.parametrize("protocol", [E0113, HIGH_DOSE], ids=lambda p: p.id)

# Marks of the rules in the reference to the five source protocols, section 2.
SHARED = {"RT-01": "seed", "RT-02": "seed", "RT-03": "ambiguous", "RT-04": "ambiguous"}
OF_94_05 = {
    "RT-10": "seed", "RT-11": "seed", "RT-12": "seed", "RT-13": "seed", "RT-14": "seed", "RT-15": "seed",
    "RT-16": "seed", "RT-17": "seed", "RT-18": "ambiguous", "RT-19": "ambiguous", "RT-20": "lit-verified",
    "RT-21": "lit-verified",
}  # fmt: skip
OF_E0113 = {
    "RT-30": "seed", "RT-31": "seed", "RT-32": "seed", "RT-33": "seed", "RT-34": "seed", "RT-35": "seed",
    "RT-36": "seed", "RT-37": "seed", "RT-38": "seed", "RT-39": "ambiguous", "RT-40": "seed", "RT-41": "seed",
    "RT-42": "seed", "RT-43": "seed", "RT-44": "seed", "RT-45": "ambiguous", "RT-46": "seed", "RT-47": "seed",
    "RT-48": "ambiguous", "RT-60": "seed", "RT-61": "seed", "RT-62": "lit-recalled", "RT-63": "lit-recalled",
    "RT-64": "seed",
}  # fmt: skip
# What E-0113 takes from 94-05, and 94-05 from E-0113.
ALSO_E0113 = {rule: OF_94_05[rule] for rule in ("RT-14", "RT-16", "RT-17", "RT-18")}
ALSO_94_05 = {rule: OF_E0113[rule] for rule in ("RT-31", "RT-32", "RT-40", "RT-41", "RT-64")}
MARKS = [
    *((E0113, rule, mark) for rule, mark in (SHARED | OF_E0113 | ALSO_E0113).items()),
    *((HIGH_DOSE, rule, mark) for rule, mark in (SHARED | OF_94_05 | ALSO_94_05).items()),
]

FACTS = {
    "tumour_level": "middle", "concurrent_chemotherapy": True, "tumour_centre_from_incisors_cm": 28.0,
    "tumour_length_cm": 5.0, "surgery": "none", "histology": "squamous cell carcinoma", "m_stage": "M0", "kps": 80,
    "fistula": False,
}  # fmt: skip
LOWER = {"tumour_level": "lower", "tumour_centre_from_incisors_cm": 31.9}
NODES = {"CTVn_Sclav_L", "CTVn_Sclav_R", "CTVn_Celiac"}


@cache
def _text(name: str) -> str:
    return (resources.files("tailort.protocols") / "library" / f"{name}.yaml").read_text(encoding="utf-8")


def _of(protocol: Protocol, **facts: object) -> Protocol:
    return for_patient(protocol, read_record(FACTS | facts))


@pytest.mark.parametrize(("protocol", "rule", "mark"), MARKS, ids=lambda value: getattr(value, "id", value))
def test_every_rule_of_the_source_is_there_with_its_mark(protocol: Protocol, rule: str, mark: str) -> None:
    assert protocol.rule(rule).mark == mark


@BOTH
def test_every_rule_names_its_source(protocol: Protocol) -> None:
    assert [rule.id for rule in protocol.rules if not (rule.text and rule.source)] == []


@BOTH
def test_every_limit_rests_on_a_rule_and_tells_how_sure_it_is(protocol: Protocol) -> None:
    for limit in protocol.constraints():
        assert limit.mark in {"seed", "ambiguous", "derived"}
        assert limit.source.startswith(("RT-", "TR-"))


@BOTH
def test_every_target_and_prescription_rests_on_a_rule(protocol: Protocol) -> None:
    assert all(entry.rules for entry in (*protocol.file.targets, *protocol.file.prescriptions))


@BOTH
def test_it_waits_for_a_clinician(protocol: Protocol) -> None:
    assert protocol.status == "needs-clinician-confirmation"


def test_e0113_gives_50_4_gy_in_28_fractions_of_which_22_are_ap_pa() -> None:
    told = [(p.target, p.dose_gy, p.fractions, p.phase) for p in E0113.prescriptions()]
    assert told == [("PTV_5040", 39.6, 22, 1), ("PTV_5040", 10.8, 6, 2)]
    assert E0113.course_gy("PTV_5040") == pytest.approx(50.4)


def test_94_05_gives_64_8_gy_in_36_fractions_with_a_cone_down_of_14_4_gy() -> None:
    assert sum(p.dose_gy for p in HIGH_DOSE.prescriptions()) == pytest.approx(64.8)
    assert sum(p.fractions for p in HIGH_DOSE.prescriptions()) == 36
    (cone_down,) = HIGH_DOSE.prescriptions_of(3)
    assert (cone_down.target, cone_down.dose_gy, cone_down.fractions) == ("PTV_6480", 14.4, 8)
    assert HIGH_DOSE.course_gy("PTV_6480") == pytest.approx(64.8)
    assert HIGH_DOSE.course_gy("PTV_5040") == pytest.approx(50.4)


def test_bed_and_eqd2_of_the_course_are_the_worked_ones() -> None:
    """EQD2(10) of 28 and of 36 fractions of 1.8 Gy: 49.56 and 63.72 Gy; BED10 of 28: 59.47 Gy."""
    for protocol, eqd2_gy in ((E0113, 49.56), (HIGH_DOSE, 63.72)):
        assert sum(level.eqd2_gy for level in protocol.dose_levels()) == pytest.approx(eqd2_gy, abs=0.005)
    assert sum(level.bed_gy for level in E0113.dose_levels()) == pytest.approx(59.47, abs=0.005)


@BOTH
def test_doses_are_those_of_the_93_percent_isodose_so_the_icru_point_gets_1_94_gy_a_fraction(
    protocol: Protocol,
) -> None:
    for p in protocol.prescriptions():
        assert (p.normalisation.kind, p.normalisation.percent) == ("isodose", 93.0)
        assert p.dose_per_fraction_gy / 0.93 == pytest.approx(1.94, abs=0.005)


@BOTH
def test_ap_pa_comes_first_and_obliques_keep_off_the_cord(protocol: Protocol) -> None:
    techniques = [protocol.technique.of_phase(phase) for phase in protocol.phases]
    assert techniques[0].arrangement == "ap-pa"
    assert {t.arrangement for t in techniques[1:]} == {"opposed-obliques"}
    assert {(t.avoid, t.block_avoided) for t in techniques[1:]} == {("SpinalCord", True)}
    assert not techniques[0].block_avoided


@BOTH
def test_ap_pa_gives_way_to_the_cord_and_the_dose_stays(protocol: Protocol) -> None:
    moving = protocol.technique.hand_over
    assert moving is not None
    assert (moving.from_phase, moving.to_phase, moving.structure, moving.below_gy) == (1, 2, "SpinalCord", 45.0)
    made = after_hand_over(protocol.prescriptions(), moving, 4)
    assert [p.fractions for p in made][:2] == [18, 10]
    assert sum(p.dose_gy for p in made) == pytest.approx(protocol.course_gy(made[-1].target))


@BOTH
@pytest.mark.parametrize("level", ["cervical", "upper"])
def test_above_the_carina_three_fields_are_tried_first_in_one_plan_of_28_fractions(
    protocol: Protocol, level: str
) -> None:
    first, second = _of(protocol, tumour_level=level).techniques()
    assert first.arrangement == "three-field-cervical"
    assert second == protocol.technique
    assert joined(protocol.prescriptions(), first)[0].fractions == 28
    assert joined(protocol.prescriptions(), second) == protocol.prescriptions()


@BOTH
@pytest.mark.parametrize("level", ["middle", "lower"])
def test_at_or_below_the_carina_nothing_is_tried_first_and_nothing_supplemented(protocol: Protocol, level: str) -> None:
    made = _of(protocol, tumour_level=level, tumour_to_junction_cm=8)
    assert made.techniques() == (protocol.technique,)
    assert made.supplements() == ()


@BOTH
def test_the_supraclavicular_supplement_is_photons_to_50_4_gy_at_3_cm(protocol: Protocol) -> None:
    left, right = _of(protocol, tumour_level="upper").supplements()
    assert (left.target, right.target) == ("PTVn_Sclav_L", "PTVn_Sclav_R")
    for entry in (left, right):
        assert (entry.up_to_gy, entry.depth_mm, entry.modality) == (50.4, 30.0, "photons")
        made = entry.prescription(39.6, 4)
        assert made is not None
        assert (made.fractions, made.dose_gy, made.normalisation.kind) == (6, pytest.approx(10.8), "depth")


@BOTH
def test_electrons_are_refused_by_name(protocol: Protocol) -> None:
    text = _text(protocol.id).replace("modality: photons", "modality: electrons", 1)
    with pytest.raises(ProtocolError, match=r"line \d+, supplements\[0\]\.modality: electrons are not planned") as told:
        parse(text, "changed.yaml")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("facts", "nodes", "position"),
    [
        ({"tumour_level": "cervical"}, {"CTVn_Sclav_L", "CTVn_Sclav_R"}, "supine"),
        ({"tumour_level": "upper"}, {"CTVn_Sclav_L", "CTVn_Sclav_R"}, "supine"),
        ({"tumour_level": "middle"}, set(), "prone"),
        (LOWER | {"tumour_centre_from_incisors_cm": 32.0}, {"CTVn_Celiac"}, "supine"),
        (LOWER | {"tumour_to_junction_cm": 5.0}, {"CTVn_Celiac"}, "supine"),
        (LOWER | {"tumour_to_junction_cm": 5.1}, set(), "prone"),
    ],
)  # fmt: skip
def test_the_level_decides_on_nodes_and_position(facts: dict[str, object], nodes: set[str], position: str) -> None:
    made = _of(E0113, **facts)
    assert {step.name for step in made.target_steps()} & NODES == nodes
    assert (made.position_note("HFS") == "") == (position == "supine")
    assert (made.position_note("HFP") == "") == (position == "prone")


def test_near_the_border_of_mid_and_distal_the_distance_to_the_junction_is_asked() -> None:
    with pytest.raises(UndecidedError) as caught:
        _of(E0113, tumour_level="lower", tumour_centre_from_incisors_cm=31.0)
    assert caught.value.missing == ("tumour_to_junction_cm",)


@BOTH
def test_a_mid_tumour_is_admitted_without_the_distance_to_the_junction(protocol: Protocol) -> None:
    assert decide(protocol, read_record(FACTS)).answer == "yes"


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        ({"kps": 50}, "no"), ({"kps": 60}, "yes"), ({"fistula": True}, "no"), ({"m_stage": "M1"}, "no"),
        ({"surgery": "R0"}, "no"), ({"histology": "other"}, "no"), ({"kps": None}, "unknown"),
        ({"tumour_level": "lower"}, "unknown"),
        ({"tumour_level": "lower", "tumour_to_junction_cm": 2.0}, "no"),
        ({"tumour_level": "lower", "tumour_to_junction_cm": 2.1}, "yes"),
    ],
)  # fmt: skip
def test_94_05_admits_whom_the_parent_trial_admitted(facts: dict[str, object], answer: str) -> None:
    assert decide(HIGH_DOSE, read_record(FACTS | facts)).answer == answer


def _drawn(*names: str) -> StructureSet:
    square = [(0, 0, 0), (10, 0, 0), (10, 10, 0)]
    return StructureSet(tuple(Structure(name, "ORGAN", (square,), "1.2.3") for name in names), "1.2.3")


ORGANS = ("External", "SpinalCord", "Lung_L", "Lung_R", "Heart", "Esophagus", "Liver")


@pytest.mark.parametrize("organ", ORGANS)
def test_a_contour_that_e0113_asks_for_must_be_there(organ: str) -> None:
    made = _of(E0113)
    made.require_structures(_drawn("GTVp", *ORGANS))
    with pytest.raises(MissingStructureError, match=f"'{organ}'"):
        made.require_structures(_drawn("GTVp", *(name for name in ORGANS if name != organ)))


@BOTH
def test_above_the_carina_supraclavicular_nodes_must_be_contoured(protocol: Protocol) -> None:
    made = _of(protocol, tumour_level="upper")
    with pytest.raises(MissingStructureError, match=r"'LN_Sclav_L' .*'LN_Sclav_R'"):
        made.require_structures(_drawn("GTVp", *ORGANS))
    made.require_structures(_drawn("GTVp", "LN_Sclav_L", "LN_Sclav_R", *ORGANS))


@BOTH
def test_the_limits_of_cord_lung_and_heart_are_those_printed(protocol: Protocol) -> None:
    told = {
        (c.structure, c.metric, c.operator, c.limit, c.priority)
        for c in protocol.constraints()
        if c.structure in ("SpinalCord", "Heart", "Lungs-PTV^2cm")
    }
    assert told == {
        ("SpinalCord", "Max[Gy]", "<=", 45.0, "hard"),
        ("Lungs-PTV^2cm", "D0.03cc[Gy]", "<=", 45.0, "goal"),
        ("Heart", "D100%[Gy]", "<=", 30.0, "hard"),
        ("Heart", "V40Gy[%]", "<", 50.0, "hard"),
        ("Heart", "Mean[Gy]", "<=", 30.0, "report"),
    }


@BOTH
def test_coverage_is_told_as_d99_and_as_the_minimum(protocol: Protocol) -> None:
    for target in {p.target for p in protocol.prescriptions()}:
        told = {c.metric: c.limit for c in protocol.constraints() if c.structure == target}
        assert told == {metric: pytest.approx(protocol.course_gy(target)) for metric in ("D99%[Gy]", "Min[Gy]")}


def _margins(protocol: Protocol, name: str) -> list[tuple[float, float]]:
    (step,) = [step for step in protocol.target_steps() if step.name == name]
    return [(o.margin.left_mm, o.margin.superior_mm) for o in step.then if hasattr(o, "margin")]  # across, along


def test_margins_from_gtv_to_ptv_are_5_cm_along_and_2_cm_across_in_all() -> None:
    made = _of(E0113)
    assert _margins(made, "CTVp_5040") == [(10.0, 40.0)]
    assert _margins(made, "PTV_5040") == [(10.0, 10.0)]
    made = _of(HIGH_DOSE)
    assert _margins(made, "PTVp_5040") == [(20.0, 50.0)]
    assert _margins(made, "PTV_6480") == [(20.0, 20.0)]


@pytest.mark.parametrize("name", ["rtog-e0113", "rtog-9405"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dose_gy: 10.8, fractions: 6", "dose_gy: 12, fractions: 6"),
        ("fractions: 22, phase: 1", "fractions: 20, phase: 1"),
    ],
)
def test_a_prescription_of_another_dose_per_fraction_is_not_accepted(name: str, old: str, new: str) -> None:
    assert old in _text(name)
    with pytest.raises(ProtocolError, match=r"changed.yaml, line \d+"):
        parse(_text(name).replace(old, new), "changed.yaml")
