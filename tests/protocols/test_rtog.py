"""The library files of RTOG say what the technique's text says, with its marks."""

from __future__ import annotations

from functools import cache
from importlib import resources

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tailort.errors import InputError, MissingStructureError, ProtocolError, UndecidedError
from tailort.patient import Structure, StructureSet
from tailort.protocols import (
    Protocol,
    after_hand_over,
    available,
    decide,
    for_patient,
    joined,
    load,
    parse,
    read_record,
)
from tailort.protocols.decision import Deciding
from tailort.protocols.reading import aliases
from tailort.protocols.treatment import prescribed_doses
from tailort.targets import Lengthen

E0113, HIGH_DOSE, RTOG_0436 = load("rtog-e0113"), load("rtog-9405"), load("rtog-0436")
ALL = pytest.mark.parametrize("protocol", [E0113, HIGH_DOSE, RTOG_0436], ids=lambda p: p.id)
STANDARD = pytest.mark.parametrize("protocol", [E0113, RTOG_0436], ids=lambda p: p.id)

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
OF_0436 = {rule: mark for rule, mark in OF_E0113.items() if rule not in ("RT-60", "RT-61", "RT-62")}
# What E-0113 takes from 94-05, and 94-05 from E-0113.
ALSO_E0113 = {rule: OF_94_05[rule] for rule in ("RT-14", "RT-16", "RT-17", "RT-18")}
ALSO_94_05 = {rule: OF_E0113[rule] for rule in ("RT-31", "RT-32", "RT-40", "RT-41", "RT-64")}
MARKS = [
    *((E0113, rule, mark) for rule, mark in (SHARED | OF_E0113 | ALSO_E0113).items()),
    *((HIGH_DOSE, rule, mark) for rule, mark in (SHARED | OF_94_05 | ALSO_94_05).items()),
    *((RTOG_0436, rule, mark) for rule, mark in (SHARED | OF_0436 | ALSO_E0113).items()),
]

FACTS = {
    "tumour_level": "middle", "concurrent_chemotherapy": True, "tumour_centre_from_incisors_cm": 28.0,
    "tumour_length_cm": 5.0, "tumour_length_endoscopy_cm": 5.0, "tumour_length_oesophagram_cm": 5.0, "surgery": "none",
    "histology": "squamous cell carcinoma", "t_stage": "T3", "n_stage": "N1", "m_stage": "M0", "kps": 80,
    "fistula": False, "bronchoscopy": True,
}  # fmt: skip
LOWER = {"tumour_level": "lower", "tumour_centre_from_incisors_cm": 31.9}
NODES = {"CTVn_Sclav_L", "CTVn_Sclav_R", "CTVn_Celiac"}


@cache
def _text(name: str) -> str:
    return (resources.files("tailort.protocols") / "library" / f"{name}.yaml").read_text(encoding="utf-8")


def _of(protocol: Protocol, readings: dict[str, str] | None = None, **facts: object) -> Protocol:
    return for_patient(protocol, read_record(FACTS | facts), readings)


@pytest.mark.parametrize(("protocol", "rule", "mark"), MARKS, ids=lambda value: getattr(value, "id", value))
def test_every_rule_of_the_source_is_there_with_its_mark(protocol: Protocol, rule: str, mark: str) -> None:
    assert protocol.rule(rule).mark == mark


@ALL
def test_every_rule_names_its_source(protocol: Protocol) -> None:
    assert [rule.id for rule in protocol.rules if not (rule.text and rule.source)] == []


@ALL
def test_every_limit_rests_on_a_rule_and_tells_how_sure_it_is(protocol: Protocol) -> None:
    for limit in protocol.constraints():
        assert limit.mark in {"seed", "ambiguous", "derived"}
        assert limit.source.startswith(("RT-", "TR-"))


@ALL
def test_every_target_and_prescription_rests_on_a_rule(protocol: Protocol) -> None:
    assert all(entry.rules for entry in (*protocol.file.targets, *protocol.file.prescriptions))


@ALL
def test_it_waits_for_a_clinician(protocol: Protocol) -> None:
    assert protocol.status == "needs-clinician-confirmation"


@STANDARD
def test_the_standard_dose_is_50_4_gy_in_28_fractions_of_which_22_are_ap_pa(protocol: Protocol) -> None:
    told = [(p.target, p.dose_gy, p.fractions, p.phase) for p in protocol.prescriptions()]
    assert told == [("PTV_5040", 39.6, 22, 1), ("PTV_5040", 10.8, 6, 2)]
    assert protocol.course_gy("PTV_5040") == pytest.approx(50.4)


def test_94_05_gives_64_8_gy_in_36_fractions_with_a_cone_down_of_14_4_gy() -> None:
    assert sum(p.dose_gy for p in HIGH_DOSE.prescriptions()) == pytest.approx(64.8)
    assert sum(p.fractions for p in HIGH_DOSE.prescriptions()) == 36
    (cone_down,) = [p for p in HIGH_DOSE.prescriptions() if p.phase == 3]
    assert (cone_down.target, cone_down.dose_gy, cone_down.fractions) == ("PTV_6480", 14.4, 8)
    assert HIGH_DOSE.course_gy("PTV_6480") == pytest.approx(64.8)
    assert HIGH_DOSE.course_gy("PTV_5040") == pytest.approx(50.4)


def test_bed_and_eqd2_of_the_course_are_the_worked_ones() -> None:
    """EQD2(10) of 28 and of 36 fractions of 1.8 Gy: 49.56 and 63.72 Gy; BED10 of 28: 59.47 Gy."""
    for protocol, eqd2_gy in ((E0113, 49.56), (RTOG_0436, 49.56), (HIGH_DOSE, 63.72)):
        assert sum(dose.eqd2_gy or 0 for dose in prescribed_doses(protocol.file)) == pytest.approx(eqd2_gy, abs=0.005)
    assert sum(dose.bed_gy or 0 for dose in prescribed_doses(E0113.file)) == pytest.approx(59.47, abs=0.005)


@ALL
def test_doses_are_those_of_the_93_percent_isodose_so_the_icru_point_gets_1_94_gy_a_fraction(
    protocol: Protocol,
) -> None:
    for p in protocol.prescriptions():
        assert (p.normalisation.kind, p.normalisation.percent) == ("isodose", 93.0)
        assert p.dose_per_fraction_gy / 0.93 == pytest.approx(1.94, abs=0.005)


@ALL
def test_ap_pa_comes_first_and_obliques_keep_off_the_cord(protocol: Protocol) -> None:
    techniques = [protocol.technique.of_phase(phase) for phase in protocol.phases]
    assert techniques[0].arrangement == "ap-pa"
    assert {t.arrangement for t in techniques[1:]} == {"opposed-obliques"}
    assert {(t.avoid, t.block_avoided) for t in techniques[1:]} == {("SpinalCord", True)}
    assert not techniques[0].block_avoided


@ALL
def test_ap_pa_gives_way_to_the_cord_and_the_dose_stays(protocol: Protocol) -> None:
    moving = protocol.technique.hand_over
    assert moving is not None
    assert (moving.from_phase, moving.to_phase, moving.structure, moving.below_gy) == (1, 2, "SpinalCord", 45.0)
    made = after_hand_over(protocol.prescriptions(), moving, 4)
    assert [p.fractions for p in made][:2] == [18, 10]
    assert sum(p.dose_gy for p in made) == pytest.approx(protocol.course_gy(made[-1].target))


@ALL
@pytest.mark.parametrize("level", ["cervical", "upper"])
def test_above_the_carina_three_fields_are_tried_first_in_one_plan_of_28_fractions(
    protocol: Protocol, level: str
) -> None:
    first, second = _of(protocol, tumour_level=level).techniques()
    assert first.arrangement == "three-field-cervical"
    assert second == protocol.technique
    assert joined(protocol.prescriptions(), first)[0].fractions == 28
    assert joined(protocol.prescriptions(), second) == protocol.prescriptions()


@ALL
@pytest.mark.parametrize("level", ["middle", "lower"])
def test_at_or_below_the_carina_nothing_is_tried_first_and_nothing_supplemented(protocol: Protocol, level: str) -> None:
    made = _of(protocol, tumour_level=level, tumour_to_junction_cm=8)
    assert made.techniques() == (protocol.technique,)
    assert made.supplements() == ()


@ALL
def test_the_supraclavicular_supplement_is_photons_to_50_4_gy_at_3_cm(protocol: Protocol) -> None:
    left, right = _of(protocol, tumour_level="upper").supplements()
    assert (left.target, right.target) == ("PTVn_Sclav_L", "PTVn_Sclav_R")
    for entry in (left, right):
        assert (entry.up_to_gy, entry.depth_mm, entry.modality) == (50.4, 30.0, "photons")
        made = entry.prescription(39.6, 4)
        assert made is not None
        assert (made.fractions, made.dose_gy, made.normalisation.kind) == (6, pytest.approx(10.8), "depth")


@ALL
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
@STANDARD
def test_the_level_decides_on_nodes_and_position(
    facts: dict[str, object], nodes: set[str], position: str, protocol: Protocol
) -> None:
    made = _of(protocol, **facts)
    assert {step.name for step in made.target_steps()} & NODES == nodes
    assert (made.position_note("HFS") == "") == (position == "supine")
    assert (made.position_note("HFP") == "") == (position == "prone")


def test_near_the_border_of_mid_and_distal_the_distance_to_the_junction_is_asked() -> None:
    with pytest.raises(UndecidedError) as caught:
        _of(E0113, tumour_level="lower", tumour_centre_from_incisors_cm=31.0)
    assert caught.value.missing == ("tumour_to_junction_cm",)


@ALL
def test_a_mid_tumour_is_admitted_without_the_distance_to_the_junction(protocol: Protocol) -> None:
    assert decide(protocol, read_record(FACTS)).answer == "yes"


@pytest.mark.parametrize(
    ("protocol", "refused_cm", "taken_cm"), [(E0113, 5.0, 5.1), (RTOG_0436, 5.0, 5.1), (HIGH_DOSE, 2.0, 2.1)]
)
def test_a_recorded_distance_is_never_overruled_by_what_the_level_implies(
    protocol: Protocol, refused_cm: float, taken_cm: float
) -> None:
    assert decide(protocol, read_record(FACTS | {"tumour_to_junction_cm": taken_cm})).answer == "yes"
    with pytest.raises(InputError, match="TR-07"):
        decide(protocol, read_record(FACTS | {"tumour_to_junction_cm": refused_cm}))


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        ({"t_stage": "Tis"}, "no"), ({"t_stage": "T4b", "n_stage": "N3"}, "yes"), ({"t_stage": None}, "unknown"),
        ({"bronchoscopy": False}, "unknown"), ({"bronchoscopy": False, "tumour_at_carina": True}, "no"),
        ({"bronchoscopy": None, "tumour_at_carina": False}, "yes"),
        ({"tumour_length_oesophagram_cm": None}, "unknown"),
        ({"tumour_length_oesophagram_cm": None, "tumour_length_eus_cm": 4.0}, "yes"),
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


@ALL
def test_above_the_carina_supraclavicular_nodes_must_be_contoured(protocol: Protocol) -> None:
    made = _of(protocol, tumour_level="upper")
    with pytest.raises(MissingStructureError, match=r"'LN_Sclav_L' .*'LN_Sclav_R'"):
        made.require_structures(_drawn("GTVp", *ORGANS))
    made.require_structures(_drawn("GTVp", "LN_Sclav_L", "LN_Sclav_R", *ORGANS))


@ALL
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


@ALL
def test_coverage_is_told_as_d99_and_as_the_minimum(protocol: Protocol) -> None:
    for target in {p.target for p in protocol.prescriptions()}:
        told = {c.metric: c.limit for c in protocol.constraints() if c.structure == target}
        assert told == {metric: pytest.approx(protocol.course_gy(target)) for metric in ("D99%[Gy]", "Min[Gy]")}


def _margins(protocol: Protocol, name: str) -> list[tuple[float, float]]:
    (step,) = [step for step in protocol.target_steps() if step.name == name]
    return [(o.margin.left_mm, o.margin.superior_mm) for o in step.then if hasattr(o, "margin")]  # across, along


def test_margins_from_gtv_to_ptv_are_5_cm_along_and_2_cm_across_in_all() -> None:
    for protocol in (E0113, RTOG_0436):
        made = _of(protocol)
        assert _margins(made, "CTVp_5040") == [(10.0, 40.0)]
        assert _margins(made, "PTV_5040") == [(10.0, 10.0)]
    made = _of(HIGH_DOSE)
    assert _margins(made, "PTVp_5040") == [(20.0, 50.0)]
    assert _margins(made, "PTV_6480") == [(20.0, 20.0)]


@pytest.mark.parametrize("name", ["rtog-e0113", "rtog-9405", "rtog-0436"])
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


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        ({}, "yes"), ({"t_stage": "T1", "n_stage": "N0"}, "no"), ({"t_stage": "T1b", "n_stage": "N1"}, "yes"),
        ({"t_stage": "T2", "n_stage": None}, "yes"), ({"t_stage": "T1", "n_stage": None}, "unknown"),
        ({"t_stage": "T1", "n_stage": "N0", "m_stage": "M1a"}, "yes"), ({"m_stage": "M1b"}, "no"),
        ({"histology": "other"}, "no"), ({"surgery": "R0"}, "no"),
    ],
)  # fmt: skip
def test_0436_admits_whom_its_abstracts_tell(facts: dict[str, object], answer: str) -> None:
    assert decide(RTOG_0436, read_record(FACTS | facts)).answer == answer


@pytest.mark.parametrize("name", ["rtog-e0013", "e0013", "E0013", "E-0113"])
def test_the_other_printed_names_are_the_same_protocol(name: str) -> None:
    assert load(name) == E0113


def test_no_two_protocols_share_a_name_and_every_other_name_is_read() -> None:
    told = [(alias.casefold(), name) for name in available() for alias in load(name).file.aliases]
    assert dict(told) == aliases()
    assert len(dict(told)) == len(told)
    assert not set(dict(told)) & set(available())


@pytest.mark.parametrize(
    ("protocol", "total_gy", "says"),
    [
        (E0113, 50.41, "technique of 94-05"), (RTOG_0436, 64.8, "technique of 94-05"), (E0113, 49.9, "less than 50 Gy"),
        (E0113, 50.0, "make 50.4 Gy"), (HIGH_DOSE, 50.4, "technique of E-0113"), (HIGH_DOSE, 60.0, "gives 64.8 Gy"),
    ],
    ids=lambda value: getattr(value, "id", value),
)  # fmt: skip
def test_a_prescribed_total_that_takes_the_other_technique_is_refused(
    protocol: Protocol, total_gy: float, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        decide(protocol, read_record(FACTS | {"prescribed_total_gy": total_gy}))


@STANDARD
def test_read_literally_50_4_gy_takes_the_technique_of_94_05(protocol: Protocol) -> None:
    assert decide(protocol, read_record(FACTS)).strata[0].outcome == "E-0113"
    literally = decide(protocol, read_record(FACTS), {"RT-03": "above-50"})
    assert (literally.answer, literally.strata[0].outcome) == ("no", "94-05")


def test_94_05_refuses_50_4_gy_by_either_reading_and_says_why() -> None:
    facts = read_record(FACTS | {"prescribed_total_gy": 50.4})
    with pytest.raises(InputError, match="technique of E-0113"):
        decide(HIGH_DOSE, facts)
    with pytest.raises(InputError, match="without the cone-down its technique ends"):
        decide(HIGH_DOSE, facts, {"RT-03": "above-50"})


@ALL
def test_a_tumour_above_the_carina_is_not_32_cm_from_the_incisors(protocol: Protocol) -> None:
    with pytest.raises(InputError, match="cannot have its centre at 32 cm"):
        decide(protocol, read_record(FACTS | {"tumour_level": "upper", "tumour_centre_from_incisors_cm": 32.0}))


@STANDARD
@pytest.mark.parametrize(
    ("facts", "readings", "level"),
    [
        (LOWER | {"tumour_to_junction_cm": 8}, {}, "mid"), (LOWER, {"RT-39": "lower-third"}, "distal"),
        ({"tumour_centre_from_incisors_cm": 33.0}, {}, "distal"),
        ({"tumour_centre_from_incisors_cm": 33.0}, {"RT-39": "lower-third"}, "mid"),
        ({"tumour_centre_from_incisors_cm": 24.9}, {}, "mid"),
        ({"tumour_centre_from_incisors_cm": 24.9}, {"TR-06": "25-cm"}, "cervical"),
        ({"tumour_level": "upper", "tumour_centre_from_incisors_cm": 25.0}, {"TR-06": "25-cm"}, "mid"),
    ],
)  # fmt: skip
def test_the_readings_of_the_levels_move_their_borders(
    facts: dict[str, object], readings: dict[str, str], level: str, protocol: Protocol
) -> None:
    made = decide(protocol, read_record(FACTS | facts), readings)
    assert {stratum.table: stratum.outcome for stratum in made.strata}["level"] == level


@STANDARD
def test_the_ends_from_the_incisors_decide_on_the_level_where_nothing_else_is_told(protocol: Protocol) -> None:
    unknown = dict.fromkeys(("tumour_centre_from_incisors_cm", "tumour_length_endoscopy_cm"))
    ends = {"tumour_upper_end_from_incisors_cm": 28.0, "tumour_lower_end_from_incisors_cm": 35.0}
    lower = FACTS | unknown | ends | {"tumour_level": "lower"}
    assert decide(protocol, read_record(lower | {"junction_from_incisors_cm": 40.0})).strata[1].outcome == "distal"
    assert decide(protocol, read_record(lower | {"junction_from_incisors_cm": 40.2})).strata[1].outcome == "mid"


@STANDARD
@pytest.mark.parametrize(("length_cm", "is_asked"), [(9.9, False), (10.0, True)])
def test_the_distance_is_asked_where_a_mid_tumour_can_reach_within_5_cm(
    protocol: Protocol, length_cm: float, is_asked: bool
) -> None:
    # From a centre at 30 cm, half of 10 cm ends at 35 cm, which is within 5 cm of 40 cm.
    decision = decide(protocol, read_record(FACTS | {"tumour_length_cm": length_cm}))
    assert ("tumour_to_junction_cm" in decision.missing_everywhere) == is_asked


@ALL
def test_a_long_mid_tumour_must_tell_its_distance_to_the_junction(protocol: Protocol) -> None:
    facts = FACTS | {"tumour_length_cm": 10.5}
    decision = decide(protocol, read_record(facts))
    assert "tumour_to_junction_cm" in decision.missing_everywhere


def _lengthened(protocol: Protocol, readings: dict[str, str] | None = None, **facts: object) -> list[Lengthen]:
    (step,) = [step for step in _of(protocol, readings, **facts).target_steps() if step.name == "GTVp^Length"]
    return [operation for operation in step.then if isinstance(operation, Lengthen)]


@ALL
def test_the_volume_is_as_long_as_the_longest_examination_shows(protocol: Protocol) -> None:
    for name in ("endoscopy", "oesophagram", "eus"):
        (how,) = _lengthened(protocol, **{f"tumour_length_{name}_cm": 7.5})
        assert (how.to_mm, how.at_each_end) == (75.0, "whole")
        assert how.told.startswith(f"tumour_length_{name}_cm (")
    (how,) = _lengthened(protocol, tumour_length_cm=8.0)
    assert how.to_mm == 80.0
    assert "tumour_length_eus_cm not recorded" in how.told


@ALL
def test_a_person_can_say_where_the_longer_tumour_lies(protocol: Protocol) -> None:
    assert [how.at_each_end for how in _lengthened(protocol, {"TR-16": "half"})] == ["half"]
    assert [how.at_each_end for how in _lengthened(protocol, {"TR-16": "as-drawn"})] == ["nothing"]


@STANDARD
def test_endoscopy_is_asked_for_and_may_be_told_by_both_ends(protocol: Protocol) -> None:
    missing = FACTS | {"tumour_length_endoscopy_cm": None}
    assert decide(protocol, read_record(missing)).answer == "unknown"
    ends = {"tumour_upper_end_from_incisors_cm": 26.0, "tumour_lower_end_from_incisors_cm": 30.0}
    assert decide(protocol, read_record(missing | ends)).answer == "yes"


@ALL
def test_margins_start_from_the_lengthened_tumour(protocol: Protocol) -> None:
    from_tumour = {step.name for step in _of(protocol).target_steps() if "GTVp" in step.of}
    assert from_tumour == {"GTVp^Length"}


def _limits(protocol: Protocol, structure: str) -> set[tuple[str, str, float, str]]:
    return {(c.metric, c.operator, c.limit, c.priority) for c in protocol.constraints() if c.structure == structure}


@ALL
@pytest.mark.parametrize(
    ("reading", "limits"),
    [
        (
            "d100",
            {("D100%[Gy]", "<=", 30.0, "hard"), ("V40Gy[%]", "<", 50.0, "hard"), ("Mean[Gy]", "<=", 30.0, "report")},
        ),
        ("mean", {("Mean[Gy]", "<=", 30.0, "hard"), ("V40Gy[%]", "<", 50.0, "hard")}),
        ("lower-half", {("D50%[Gy]", "<=", 40.0, "hard"), ("Mean[Gy]", "<=", 30.0, "report")}),
    ],
)  # fmt: skip
def test_each_reading_of_the_heart_limit_is_a_limit(
    reading: str, limits: set[tuple[str, str, float, str]], protocol: Protocol
) -> None:
    assert _limits(_of(protocol, {"RT-18": reading}), "Heart") == limits


@ALL
def test_lung_beyond_2_cm_is_a_goal_or_hard(protocol: Protocol) -> None:
    for reading in ("goal", "hard"):
        told = _limits(_of(protocol, {"TR-12": reading}), "Lungs-PTV^2cm")
        assert told == {("D0.03cc[Gy]", "<=", 45.0, reading)}


def test_field_borders_add_no_penumbra_and_a_ptv_proper_does() -> None:
    for level in ("middle", "upper"):
        for reading, margin_mm, judged in (("fields", 0.0, "GTVp^Length"), ("ptv-proper", 8.0, "PTV_6480")):
            made = _of(HIGH_DOSE, {"RT-19": reading}, tumour_level=level)
            for technique in made.techniques():
                assert {technique.of_phase(phase).aperture_margin_mm for phase in made.phases} == {margin_mm}
            goals = {c.structure for c in made.constraints() if c.priority == "goal" and c.metric == "D99%[Gy]"}
            assert judged in goals
            assert ("GTVp^Length" in goals) == (reading == "fields")


@STANDARD
def test_positive_nodes_get_the_margins_only_where_they_are_gtv(protocol: Protocol) -> None:
    def start(readings: dict[str, str]) -> tuple[str, ...]:
        (step,) = [step for step in _of(protocol, readings).target_steps() if step.name == "CTVp_5040"]
        return (*step.of, *step.if_drawn)

    assert start({}) == ("GTVp^Length",)
    assert start({"RT-45": "all-disease"}) == ("GTVp^Length", "GTVn")


@STANDARD
def test_the_ptv_margin_is_1_or_2_cm_and_nothing_else(protocol: Protocol) -> None:
    for reading, mm in (("1-cm", 10.0), ("2-cm", 20.0)):
        made = _of(protocol, {"TR-05": reading}, tumour_level="upper")
        names = ("PTV_5040", "PTVp_5040", "PTVn_Sclav_L", "PTVn_Sclav_R")
        assert [_margins(made, name) for name in names] == 4 * [[(mm, mm)]]


def test_limits_cannot_be_read_away() -> None:
    for protocol in (E0113, RTOG_0436):
        with pytest.raises(InputError, match="cannot take it"):
            _of(protocol, {"RT-48": "none"})


@ALL
def test_recalled_doses_of_drugs_are_never_taken_or_ordered(protocol: Protocol) -> None:
    assert protocol.file.drugs is not None
    for regimen in protocol.file.drugs.regimens:
        for drug in (*regimen.drugs, *regimen.one_of):
            recalled = [rule for rule in drug.rules if protocol.rule(rule).mark in ("lit-recalled", "ambiguous")]
            assert not recalled or (drug.default, drug.order) == (None, "never")
    assert (protocol.file.drugs.body_surface is None) == (protocol is not HIGH_DOSE)


@pytest.mark.parametrize("arm", ["arm 1", "arm 2", None])
def test_the_arm_decides_on_the_regimens(arm: str | None) -> None:
    assert E0113.file.drugs is not None
    answers = {
        regimen.id: regimen.when.evaluate({"chemotherapy_arm": arm}).answer
        for regimen in E0113.file.drugs.regimens
        if regimen.when is not None
    }
    own = {None: "unknown"}.get(arm, "yes")
    for regimen, answer in answers.items():
        mine = arm is None or regimen.startswith(arm.replace(" ", "-"))
        assert answer == (own if mine else "no")
    assert len(answers) == 4


def test_imaging_is_asked_for_by_e0113_and_only_the_swallow_by_94_05() -> None:
    for protocol in (E0113, RTOG_0436):
        imaging = protocol.file.imaging
        assert imaging is not None
        assert {rule for entry in (*imaging.slices, *imaging.extent, *imaging.contours) for rule in entry.rules} <= {
            "RT-30", "RT-35", "RT-37", "TR-13",
        }  # fmt: skip
        assert {entry.otherwise for entry in (*imaging.slices, *imaging.extent, *imaging.contours)} == {"fail"}
        assert [entry.at_most_mm for entry in imaging.slices] == [5, 10]
    imaging = HIGH_DOSE.file.imaging
    assert imaging is not None
    every = (*imaging.slices, *imaging.extent, *imaging.contours, *imaging.facts)
    assert {entry.otherwise for entry in every if entry.rules != ("RT-12",)} == {"note"}
    assert {entry.otherwise for entry in every if entry.rules == ("RT-12",)} == {"fail"}


VALUES: dict[str, st.SearchStrategy[object]] = {
    "tumour_level": st.sampled_from(["cervical", "upper", "middle", "lower"]),
    "concurrent_chemotherapy": st.booleans(),
    "prescribed_total_gy": st.sampled_from([50.4, 64.8]),
    "tumour_centre_from_incisors_cm": st.sampled_from([22.0, 30.0, 31.9, 32.0]),
    "tumour_upper_end_from_incisors_cm": st.sampled_from([20.0, 28.0]),
    "tumour_lower_end_from_incisors_cm": st.sampled_from([24.0, 35.0, 35.8]),
    "junction_from_incisors_cm": st.sampled_from([38.0, 40.0, 41.0]),
    "tumour_to_junction_cm": st.sampled_from([0.0, 2.0, 5.0, 5.1]),
    "tumour_length_cm": st.sampled_from([10.0, 10.1]),
    "tumour_length_endoscopy_cm": st.sampled_from([7.0, 10.0, 10.1]),
    "tumour_length_eus_cm": st.just(6.0),
    "tumour_length_oesophagram_cm": st.just(6.0),
    "histology": st.sampled_from(["squamous cell carcinoma", "other"]),
    "t_stage": st.sampled_from(["Tis", "T1", "T3"]),
    "n_stage": st.sampled_from(["N0", "N1"]),
    "m_stage": st.sampled_from(["M0", "M1a", "M1"]),
    "kps": st.sampled_from([50, 60]),
    "surgery": st.sampled_from(["none", "R0"]),
    "fistula": st.booleans(),
    "bronchoscopy": st.booleans(),
    "tumour_at_carina": st.booleans(),
}
READY = {protocol.id: Deciding.of(protocol) for protocol in (E0113, HIGH_DOSE, RTOG_0436)}


@ALL
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.filter_too_much])
@given(known=st.fixed_dictionaries({}, optional=VALUES), more=st.fixed_dictionaries({}, optional=VALUES))
def test_more_facts_never_change_an_answer_or_a_level_that_is_settled(
    protocol: Protocol, known: dict[str, object], more: dict[str, object]
) -> None:
    try:
        before, after = (READY[protocol.id].decide(read_record(one), "answers") for one in (known, more | known))
    except InputError:
        assume(False)
        return
    assert before.answer in ("unknown", after.answer)
    for was, now in zip(before.strata, after.strata, strict=True):
        assert set(now.possible) <= set(was.possible)
