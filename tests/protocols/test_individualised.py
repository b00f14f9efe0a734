"""What individualises a treatment proposes with its evidence, and never loosens a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError, ProtocolError
from tailort.patient.prescription import Operator, Priority
from tailort.protocols import available, decide, load, parse, read_record
from tailort.protocols.condition import COMPARE
from tailort.protocols.individualising import LimitProposal, ProtocolProposal
from tailort.protocols.proposals import Individual, limits_with, printed_range_gy, proposals
from tailort.protocols.schema import LimitEntry
from tailort.protocols.strictness import Bound, loosens

INDIVIDUALISED = load("individualised")
TABLE = "anatomical_images_in_course: repeated CT\nfunctional_images: FDG PET\n"
SEVERITY = {"report": 0, "goal": 1, "hard": 2}

MARKS = {
    **{f"IR-{n:02}": "seed" for n in range(1, 10)}, "IR-05": "ambiguous", "IR-10": "derived",
    "RB-140": "lit-recalled", "RB-146": "lit-recalled", "RB-147": "derived", "RB-150": "seed", "RB-151": "lit-recalled",
    "RB-152": "derived", "RB-153": "lit-recalled", "RB-154": "lit-recalled", "RB-155": "lit-recalled",
    "RB-156": "derived",
}  # fmt: skip


def found(name: str, record: str, readings: dict[str, str] | None = None, section: str = "triggers") -> Individual:
    told = proposals(INDIVIDUALISED, read_record(record), readings)
    (one,) = [entry for entry in getattr(told, section) if entry.entry.id == name]
    return one


# --- the file


@pytest.mark.parametrize(("rule", "mark"), MARKS.items())
def test_every_rule_of_the_source_is_there_with_its_mark(rule: str, mark: str) -> None:
    assert INDIVIDUALISED.rule(rule).mark == mark


def test_it_admits_everybody_prescribes_nothing_and_waits_for_a_clinician() -> None:
    assert decide(INDIVIDUALISED, {}).answer == "yes"
    assert INDIVIDUALISED.file.only_proposes
    assert INDIVIDUALISED.status == "needs-clinician-confirmation"
    with pytest.raises(ProtocolError, match="proposes and prescribes nothing: plan and judge with one that prescribes"):
        INDIVIDUALISED.techniques()


def test_every_modifier_and_trigger_tells_its_level_of_evidence_by_ir_01() -> None:
    entries = (*INDIVIDUALISED.file.modifiers, *INDIVIDUALISED.file.triggers)
    assert {entry.evidence.level for entry in entries} == {"group", "individual"}
    assert all("IR-01" in entry.evidence.rules for entry in entries)


def test_both_classes_of_population_and_of_guidance_are_there() -> None:
    modifiers = INDIVIDUALISED.file.modifiers
    assert {entry.between for entry in modifiers} == {"groups", "individuals"}
    assert {entry.guidance for entry in (*modifiers, *INDIVIDUALISED.file.triggers)} == {
        "anatomical", "functional", "none",
    }  # fmt: skip


def test_protocols_that_it_proposes_are_in_the_library() -> None:
    named = {
        proposal.protocol
        for entry in INDIVIDUALISED.file.modifiers
        for proposal in entry.proposes
        if isinstance(proposal, ProtocolProposal)
    }
    assert named <= set(available())


def test_every_trigger_that_changes_the_plan_sums_what_was_and_what_will_be_given() -> None:
    for trigger in INDIVIDUALISED.file.triggers:
        acts = {entry.action for entry in trigger.actions}
        assert "sum-doses" in acts or acts == {"review"}


# --- image guidance, IR-03


@pytest.mark.parametrize(
    ("anatomy", "function", "outcome"),
    [
        ("cone-beam CT", "FDG PET", "anatomical and functional"),
        ("repeated CT", "none", "anatomical"),
        ("none", "hypoxia PET", "functional"),
        ("none", "none", "none"),
    ],
)
def test_the_class_of_image_guidance_follows_the_images(anatomy: str, function: str, outcome: str) -> None:
    record = read_record({"anatomical_images_in_course": anatomy, "functional_images": function})
    (stratum,) = decide(INDIVIDUALISED, record).strata
    assert stratum.outcome == outcome


# --- modifiers


@pytest.mark.parametrize(
    ("record", "modifier", "protocol"),
    [
        ("tumour_level: middle\nsurgery: none\nconcurrent_chemotherapy: yes", "group-definitive", "smart-imrt"),
        ("surgery: R1", "group-salvage", "salvage-crt"),
        ("surgery: R0\nlocoregional_recurrence: yes", "group-salvage", "salvage-crt"),
        ("mescc: yes\nprior_radiotherapy_at_target: yes", "group-spine", "reirradiation-spine"),
    ],
)
def test_groups_are_sent_to_their_protocol(record: str, modifier: str, protocol: str) -> None:
    one = found(modifier, record, section="modifiers")
    assert one.answer == "yes"
    assert f"ask protocol '{protocol}'" in [proposed.text for proposed in one.proposed]


def test_an_r0_patient_without_recurrence_is_in_no_group() -> None:
    assert found("group-salvage", "surgery: R0\nlocoregional_recurrence: no", section="modifiers").answer == "no"


def test_fdg_proposes_a_subvolume_only_when_the_suv_can_be_trusted() -> None:
    assert found("metabolic-subvolume", "fdg_suv_max: 12\nsuv_quantified: yes", section="modifiers").answer == "yes"
    assert found("metabolic-subvolume", "fdg_suv_max: 12\nsuv_quantified: no", section="modifiers").answer == "no"
    unknown = found("metabolic-subvolume", "fdg_suv_max: 12", section="modifiers")
    assert (unknown.answer, unknown.missing) == ("unknown", ("suv_quantified",))


def test_hypoxia_counts_from_the_reading_of_id_01() -> None:
    one = found("hypoxic-subvolume", "fmiso_tumour_to_blood: 1.3", section="modifiers")
    other = found("hypoxic-subvolume", "fmiso_tumour_to_blood: 1.3", {"ID-01": "1.2"}, section="modifiers")
    assert (one.answer, other.answer) == ("no", "yes")


def test_an_rsi_of_zero_is_bad_input_and_above_0_8187_the_assay_is_questioned() -> None:
    with pytest.raises(InputError, match="RSI at or below 0 has no meaning"):
        proposals(INDIVIDUALISED, read_record("rsi: 0"))
    assert found("radiosensitivity-index-extreme", "rsi: 0.82", section="modifiers").answer == "yes"
    assert found("radiosensitivity-index-extreme", "rsi: 0.8187", section="modifiers").answer == "no"


def test_no_modifier_of_the_library_file_gives_a_dose() -> None:
    kinds = {proposal.propose for entry in INDIVIDUALISED.file.modifiers for proposal in entry.proposes}
    assert kinds == {"protocol", "subvolume", "image", "test", "review"}


# --- triggers, RB-150 to RB-155, each on both sides of its threshold


NO_CHANGE = "weight_loss_in_course_percent: 10\ncontour_change_cm: 1\neffusion_or_atelectasis_changed: no"


@pytest.mark.parametrize(
    ("trigger", "record", "answer"),
    [
        ("dose-50-gy", "target_dose_delivered_gy: 50", "yes"),
        ("dose-50-gy", "target_dose_delivered_gy: 49.9", "no"),
        ("coverage", "ctv_d95_fall_percent: 3.1", "yes"),
        ("coverage", "ctv_d95_fall_percent: 3\nptv_d95_fall_percent: 3", "no"),
        ("coverage", "ctv_d95_fall_percent: 3", "unknown"),
        ("hard-limit", "hard_limit_exceeded_projected: yes", "yes"),
        ("anatomy", "weight_loss_in_course_percent: 10.1", "yes"),
        ("anatomy", "contour_change_cm: 1.1", "yes"),
        ("anatomy", NO_CHANGE, "no"),
        ("tumour", "tumour_volume_change_percent: -30.5", "yes"),
        ("tumour", "tumour_volume_change_percent: 31", "yes"),
        ("tumour", "tumour_volume_change_percent: -30", "no"),
        ("metabolic-response", "histology: adenocarcinoma\nsuv_max_fall_at_2_weeks_percent: 34.9", "yes"),
        ("metabolic-response", "histology: adenocarcinoma\nsuv_max_fall_at_2_weeks_percent: 35", "no"),
        ("metabolic-response", "histology: squamous cell carcinoma\nsuv_max_fall_at_2_weeks_percent: 10", "no"),
        ("motion", "motion_beyond_margin: yes", "yes"),
    ],
)  # fmt: skip
def test_a_trigger_fires_beyond_its_threshold_and_not_at_it(trigger: str, record: str, answer: str) -> None:
    assert found(trigger, record).answer == answer


def test_coverage_falls_by_5_percent_under_the_other_reading() -> None:
    record = "ctv_d95_fall_percent: 4\nptv_d95_fall_percent: 4"
    assert (found("coverage", record).answer, found("coverage", record, {"ID-02": "5"}).answer) == ("yes", "no")


def test_a_poor_metabolic_response_is_reviewed_and_never_escalated() -> None:
    one = found("metabolic-response", "histology: adenocarcinoma\nsuv_max_fall_at_2_weeks_percent: 10")
    assert [proposed.text for proposed in one.proposed] == ["review: no escalation by itself"]


def test_a_trigger_that_fires_tells_condition_values_evidence_and_rules() -> None:
    told = found("dose-50-gy", "target_dose_delivered_gy: 52").as_dict()
    assert told["reason"] == "target_dose_delivered_gy >= 50: yes (target_dose_delivered_gy 52)"
    assert told["evidence"] == {"level": "group", "kind": "trial", "text": "NCT03731442"}
    assert [one["rules"] for one in told["actions"]] == [["RB-150"], ["RB-150"], ["RB-156"]]


# --- the safety rule, IR-10

OWN = """\
id: own
version: "1"
title: Own
facts:
  - {{name: mutation, type: boolean}}
prescriptions:
  - {{target: PTV1, dose_gy: 60, fractions: 30, normalisation: {{coverage: "D95%[Gy]"}}}}
technique: {{kind: imrt, beams: 9}}
limits:
  - {{structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard}}
  - {{structure: Heart, metric: "Mean[Gy]", operator: "<=", limit: 26, priority: goal}}
modifiers:
  - id: sensitive
    text: A mutation
    between: individuals
    guidance: none
    evidence: {{level: individual, kind: genetic}}
    when: {{fact: mutation, operator: "==", value: true}}
    proposes:
      - {proposal}
"""


def own(proposal: str) -> str:
    return OWN.format(proposal=proposal)


LIMIT = '{propose: limit, structure: %s, metric: "%s[Gy]", operator: "%s", limit: %g, priority: %s}'


@pytest.mark.parametrize(
    ("proposal", "told"),
    [
        (LIMIT % ("SpinalCord", "Max", "<", 50, "hard"), "loosens"),
        (LIMIT % ("spinalcord", "Max", "<=", 45, "hard"), "loosens"),
        (LIMIT % ("SpinalCord", "Max", "<", 46, "goal"), "loosens"),
        (LIMIT % ("Heart", "Mean", "<=", 27, "goal"), "loosens"),
        ("{propose: dose, target: PTV1, dose_gy: 66, fractions: 30}", "needs 'sign_off: required'"),
    ],
)
def test_a_modifier_that_would_loosen_is_refused_when_the_file_is_read(proposal: str, told: str) -> None:
    with pytest.raises(ProtocolError, match=rf"own\.yaml, line 20, modifiers\[0\]\.proposes\[0\].*{told}"):
        parse(own(proposal), "own.yaml")


@pytest.mark.parametrize(
    "proposal",
    [
        LIMIT % ("SpinalCord", "Max", "<", 40, "hard"),
        LIMIT % ("SpinalCord", "Max", "<", 40, "goal"),
        LIMIT % ("Heart", "Mean", "<=", 30, "hard"),
        LIMIT % ("Liver", "Mean", "<=", 30, "goal"),
        "{propose: dose, target: PTV1, dose_gy: 66, fractions: 30, sign_off: required}",
        "{propose: dose, target: PTV1, dose_gy: 50, fractions: 25}",
    ],
)
def test_a_stricter_limit_and_a_signed_dose_may_be_proposed(proposal: str) -> None:
    assert parse(own(proposal), "own.yaml").file.modifiers[0].proposes


def test_a_trigger_that_replans_without_a_sum_is_refused() -> None:
    text = (
        own("{propose: review, text: x}")
        .replace("modifiers:", "triggers:")
        .replace("between: individuals", "change: organ")
    )
    text = text.replace("proposes:\n      - {propose: review, text: x}", "actions:\n      - {action: re-plan}")
    with pytest.raises(ProtocolError, match="sum-doses"):
        parse(text, "own.yaml")


def limit_entries() -> st.SearchStrategy[LimitEntry]:
    return st.builds(
        LimitEntry,
        structure=st.sampled_from(["SpinalCord", "Heart"]),
        metric=st.sampled_from(["Max[Gy]", "Mean[Gy]"]),
        operator=st.sampled_from(["<", "<=", ">", ">="]),
        limit=st.integers(0, 6).map(float),
        priority=st.sampled_from(["hard", "goal", "report"]),
    )


def refused(limits: tuple[LimitEntry, ...], structure: str, metric: str, value: float) -> int:
    """How severely a value is refused: 0 where every limit holds."""
    return max(
        (
            SEVERITY[limit.priority] + 1
            for limit in limits
            if (limit.structure, limit.metric) == (structure, metric)
            and not COMPARE[limit.operator](value, limit.limit)
        ),
        default=0,
    )


@given(limits=st.lists(limit_entries(), max_size=5).map(tuple), proposed=limit_entries())
def test_beside_another_protocol_no_value_is_ever_refused_less_than_before(
    limits: tuple[LimitEntry, ...], proposed: LimitEntry
) -> None:
    proposal = LimitProposal(
        propose="limit", structure=proposed.structure, metric=proposed.metric, operator=proposed.operator,
        limit=proposed.limit, priority=proposed.priority,
    )  # fmt: skip
    after = limits_with(limits, proposal)
    for structure in ("SpinalCord", "Heart"):
        for metric in ("Max[Gy]", "Mean[Gy]"):
            for value in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5):
                assert refused(after, structure, metric, value) >= refused(limits, structure, metric, value)


operators = st.sampled_from(["<", "<=", ">", ">="])


@given(was=st.tuples(operators, st.integers(0, 4)), now=st.tuples(operators, st.integers(0, 4)))
def test_a_limit_loosens_exactly_when_some_value_holds_it_that_the_other_refuses(
    was: tuple[Operator, int], now: tuple[Operator, int]
) -> None:
    one, other = Bound.of(*was), Bound.of(*now)
    if one.upper != other.upper:
        return
    values = [n / 2 for n in range(-1, 10)]
    assert other.within(one) == all(COMPARE[was[0]](v, was[1]) for v in values if COMPARE[now[0]](v, now[1]))


def test_a_strict_operator_is_stricter_at_the_same_number() -> None:
    def of(operator: Operator, priority: Priority = "hard") -> LimitEntry:
        return LimitEntry(structure="Cord", metric="Max[Gy]", operator=operator, limit=45, priority=priority)

    assert loosens(of("<"), of("<="))
    assert not loosens(of("<="), of("<"))


def test_a_looser_proposal_is_clipped_and_told_beside_a_stricter_protocol() -> None:
    proposal = LIMIT % ("SpinalCord", "Max", "<", 44.9, "hard")
    protocol = parse(own(proposal), "own.yaml")
    stricter = parse(own("{propose: review, text: x}").replace("limit: 45", "limit: 40"), "strict.yaml")
    told = proposals(protocol, read_record("mutation: yes"), beside=stricter)
    ((clipped,),) = [one.proposed for one in told.modifiers]
    assert clipped.standing == "clipped"
    assert "SpinalCord Max[Gy] < 40 (hard) stays in force" in clipped.note


def test_a_limit_by_a_table_counts_with_its_strictest_number() -> None:
    proposal = LIMIT % ("SpinalCord_PRV", "D0.035cc", "<=", 11, "hard")
    told = proposals(parse(own(proposal), "own.yaml"), read_record("mutation: yes"), beside=load("reirradiation-spine"))
    ((clipped,),) = [one.proposed for one in told.modifiers]
    assert clipped.standing == "clipped"
    assert "SpinalCord_PRV D0.035cc[Gy] <= 10.8 (hard) stays in force" in clipped.note


def test_a_dose_beside_salvage_crt_waits_for_sign_off_above_what_is_printed() -> None:
    salvage = load("salvage-crt")
    assert printed_range_gy(salvage.file, "PTV_5040") == (50.4, 50.4)
    assert printed_range_gy(salvage.file, "nothing") is None
    protocol = parse(own("{propose: dose, target: PTV_5040, dose_gy: 54, fractions: 30}"), "own.yaml")
    told = proposals(protocol, read_record("mutation: yes"), beside=salvage)
    ((dose,),) = [one.proposed for one in told.modifiers]
    assert dose.standing == "needs sign-off"
    assert "prints 50.4 Gy for 'PTV_5040'" in dose.note
