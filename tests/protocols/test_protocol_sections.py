"""Plans, amendments, drugs, schedule, endpoints: right as a whole, or refused with file, line and place."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_faults import told_of

from tailort.errors import ProtocolError
from tailort.protocols import parse, read_record
from tailort.protocols.course_dates import fraction_of_course
from tailort.protocols.known import seen
from tailort.protocols.modifications import SEVERITY, modification
from tailort.protocols.plans import amended, choose_plan, with_plan
from tailort.protocols.schedule import FollowUpSection, VisitsEntry, visit_months
from tailort.protocols.schema import PrescriptionEntry

FILE = """\
id: own
version: "1"
title: Two plans
rules:
  - {id: R1, text: Something., source: A paper, mark: seed}
  - {id: R2, text: Something else., source: A paper, mark: seed}
facts:
  - {name: far, type: boolean, rules: [R1]}
  - {name: grade, type: integer, range: [0, 5]}
normalisation: {coverage: "D95%[Gy]"}
plans:
  - id: A
    title: Boost
    when: {fact: far, operator: "==", value: true}
    targets: [{name: PTV2, role: PTV, of: [GTV]}]
    prescriptions: [{target: PTV1, dose_gy: 50.4, fractions: 28}, {target: PTV2, dose_gy: 59.92, fractions: 28}]
    options: [{id: low, title: Lower, prescriptions: [{target: PTV1, dose_gy: 50.4, fractions: 28}]}]
  - id: B
    title: No boost
    when: {fact: far, operator: "==", value: false}
    prescriptions: [{target: PTV1, dose_gy: 50.4, fractions: 28}]
technique: {kind: imrt, beams: 9}
limits:
  - {structure: Cord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard, on_violation: reject}
  - {structure: Stomach, metric: "D0.03cc[Gy]", operator: "<=", limit: 105, percent_of: PTV1, priority: goal}
amendments:
  - id: less
    structure: Stomach
    metric: "V50Gy[%]"
    operator: ">"
    value: 50
    times: 1
    prescriptions: [{target: PTV3, dose_gy: 45, fractions: 25}]
flags:
  - {id: bad, text: Bad., when: {fact: grade, operator: ">=", value: 4}}
regions:
  regions: [{name: I, stations: ["1", "2"]}, {name: II, stations: ["7"]}]
  distant: [[I, II]]
drugs:
  regimens:
    - {id: own, setting: concurrent, cycles: [2], cycle_days: 21, drugs: [
        {name: paclitaxel, days: [1], doses: [{id: a, mg_m2: 135, per: day}], default: a, order: never}]}
    - {id: more, setting: consolidation, cycles: [2], same_as: own}
modifications:
  - {id: reduce, when: {fact: grade, operator: "==", value: 3}, action: reduce-dose, dose_factor: 0.8}
adaptations:
  - {plan: A, target: PTV2, at_gy: 50, image: CT, strength: required, then: look again}
follow_up:
  counted_from: end
  visits: [{every_months: 3, from_month: 3, to_month: 24}, {every_months: 6, from_month: 30, to_month: null}]
  response: {criteria: RECIST 1.1, from_month: 1, to_month: 2}
safety: {grading: [CTCAE v4.0], report_to: committee, within_hours: 24}
endpoints:
  - {name: survival, kind: primary, at_years: [1], counted_from: start, events: [death], censored_at: last visit}
design: {test: exact-binomial, two_sided: true, alpha: 0.05, power: 0.8, enrolled: [83, 90], arms: [
    {name: all, patients: 83, null_proportion: 0.55, assumed_proportion: 0.7}]}
not_executed:
  - {rule: R2, reason: Nothing to do.}
"""


def _line(text: str) -> int:
    return FILE[: FILE.index(text)].count("\n") + 1


FAULTS = [
    # what is changed, into what, the place told, and what else the sentence says
    ("- id: B\n", "- id: A\n", "plans[1].id", "twice"),
    ("fact: far, operator", "fact: near, operator", "plans[0].when.fact", "far, grade"),
    ("value: true}", "value: maybe}", "plans[0].when.value", "yes or no"),
    ("    when: {fact: far, operator: \"==\", value: false}\n", "", "plans[1]", "'when' is missing"),
    ("dose_gy: 59.92, fractions: 28", "dose_gy: 59.92, fractions: 9", "plans[0].prescriptions[1].fractions", "phase 1"),
    ("dose_gy: 59.92, fractions: 28", "dose_gy: 59.92, fractions: 28, phase: 3", "plans[0].prescriptions", "1, 2, 3"),
    ("of: [GTV]", "of: [PTV2]", "plans[0].targets[0]", "made of itself"),
    ("beams: 9}", "beams: 9, phases: [{phase: 2, beams: 7}]}", "plans[0]", "the file's technique does not fit"),
    ("percent_of: PTV1", "percent_of: PTV2", "limits[1].percent_of", "prescribed are: PTV1"),
    ("on_violation: reject", "on_violation: cry", "limits[0].on_violation", "'reject'"),
    ("V50Gy[%]", "V50[%]", "amendments[0].metric", "not a metric"),
    ("times: 1", "times: 2", "amendments[0].times", "expected 1"),
    ("    value: 50\n", "", "amendments[0]", "'value' is missing"),
    ("value: 50\n", "value: -1\n", "amendments[0].value", "0"),
    ("value: 4}", "value: 9}", "flags[0].when.value", "0 to 5"),
    ('["7"]', '["1"]', "regions", "'1' is given twice"),
    ("[[I, II]]", "[[I, IV]]", "regions", "'IV' is no region"),
    ("default: a", "default: b", "drugs.regimens[0].drugs[0]", "given are: a"),
    (", default: a", "", "drugs.regimens[0].drugs[0]", "'default' is missing"),
    (", order: never", "", "drugs.regimens[0].drugs[0]", "'order' is missing"),
    ("days: [1]", "days: [22]", "drugs.regimens[0]", "after the cycle of 21 days"),
    ("mg_m2: 135", "mg_m2: 0", "drugs.regimens[0].drugs[0].doses[0].mg_m2", "greater than 0"),
    ("per: day", "per: day, cap_mg: 50", "drugs.regimens[0].drugs[0].doses[0]", "go together"),
    ("per: day", "per: cycle, cap_mg: 50, cap_per: day", "drugs.regimens[0].drugs[0].doses[0]", "capped per cycle"),
    ("same_as: own", "same_as: other", "drugs.regimens[1].same_as", "those are: own"),
    ("same_as: own", "left_to: clinician", "drugs.regimens[1]", "cycles"),
    ("cycles: [2], same_as", "same_as", "drugs.regimens[1]", "cycles"),
    ("dose_factor: 0.8", "dose_factor: 1.0", "modifications[0].dose_factor", "less than 1"),
    (", dose_factor: 0.8", "", "modifications[0]", "reduce-dose"),
    ("plan: A, target", "plan: C, target", "adaptations[0].plan", "plans are: A, B"),
    ("plan: A, target", "target", "adaptations[0]", "say in 'plan'"),
    ("target: PTV2, at_gy", "target: PTV9, at_gy", "adaptations[0].target", "not prescribed"),
    ("at_gy: 50", "at_gy: 60", "adaptations[0].at_gy", "never gets 60 Gy"),
    ("to_month: 24", "to_month: 25", "follow_up.visits[0]", "do not meet month 25"),
    ("from_month: 30", "from_month: 24", "follow_up", "before those told above have ended"),
    ("from_month: 1, to_month: 2", "from_month: 2, to_month: 2", "follow_up.response", "no time"),
    ("within_hours: 24", "within_hours: 0", "safety.within_hours", "greater than 0"),
    (", censored_at: last visit", "", "endpoints[0]", "censored_at"),
    ("enrolled: [83, 90]", "enrolled: [82, 90]", "design", "the arms need 83"),
    ("null_proportion: 0.55", "null_proportion: 0.7", "design.arms[0]", "equal"),
    ("rule: R2, reason", "rule: R3, reason", "not_executed[0].rule", "not among the file's rules"),
    ("rule: R2, reason", "rule: R1, reason", "not_executed[0]", "name the 'part'"),
    ("rule: R2, reason", "rule: R2, part: some of it, reason", "not_executed[0].part", "leave 'part' out"),
    ("\n  - {rule: R2, reason: Nothing to do.}\n", " []\n", "rules[1]", "neither used nor listed"),
    ("  - id: B\n", "prescriptions: [{target: PTV1, dose_gy: 50.4, fractions: 28}]\n", "own.yaml", ""),
]  # fmt: skip


def test_the_file_that_the_faults_are_put_into_is_right() -> None:
    assert [plan.id for plan in parse(FILE, "own.yaml").file.plans] == ["A", "B"]


@pytest.mark.parametrize(("old", "new", "place", "says"), FAULTS)
def test_a_fault_is_told_with_its_line_and_place(old: str, new: str, place: str, says: str) -> None:
    told = told_of(FILE, old, new)
    assert re.search(r"line \d+", told) or not says
    assert place in told
    assert says in told


def test_the_line_is_that_of_the_fault() -> None:
    with pytest.raises(ProtocolError, match=rf"line {_line('plan: A, target')}, adaptations\[0\]\.plan"):
        parse(FILE.replace("plan: A, target", "plan: C, target"), "own.yaml")


def test_plans_and_prescriptions_exclude_each_other() -> None:
    more = "prescriptions: [{target: PTV1, dose_gy: 50.4, fractions: 28}]\nplans:\n"
    with pytest.raises(ProtocolError, match="prescriptions of their own"):
        parse(FILE.replace("plans:\n", more), "own.yaml")


def test_two_plans_that_both_hold_are_a_fault_of_the_file() -> None:
    protocol = parse(FILE.replace('"==", value: false', '"!=", value: false'), "own.yaml")
    with pytest.raises(ProtocolError, match="A and B both hold"):
        seen(protocol.file, read_record("far: yes"))


def test_plans_that_are_read_in_order_give_the_first_that_holds() -> None:
    both = FILE.replace('"==", value: false', '"!=", value: false')
    text = both.replace("plans:\n", "plans_read: in-order\nplans:\n")
    protocol = parse(text, "own.yaml")
    assert choose_plan(protocol, seen(protocol.file, read_record("far: yes"))).plan == "A"
    assert choose_plan(protocol, seen(protocol.file, read_record("far: no"))).possible == ()
    unknown = choose_plan(protocol, seen(protocol.file, {}))
    assert (unknown.plan, unknown.possible, unknown.missing) == (None, ("A", "B"), ("far",))


def test_a_plan_or_amendment_that_is_not_there_lists_the_known_ones() -> None:
    protocol = parse(FILE, "own.yaml")
    with pytest.raises(ProtocolError, match="no plan 'C'; known are: A, B"):
        with_plan(protocol, "C")
    with pytest.raises(ProtocolError, match="no option of plan 'A' 'high'; known are: low"):
        with_plan(protocol, "A", "high")
    with pytest.raises(ProtocolError, match="no amendment 'more'; known are: less"):
        amended(with_plan(protocol, "A"), "more")


def test_what_goes_with_a_dose_goes_when_the_dose_does() -> None:
    protocol = with_plan(parse(FILE, "own.yaml"), "A")
    assert len(protocol.constraints()) == 2
    assert len(protocol.file.adaptations) == 1
    less = amended(protocol, "less")
    assert [limit.structure for limit in less.constraints()] == ["Cord"]
    assert less.file.adaptations == ()
    assert with_plan(parse(FILE, "own.yaml"), "A", "low").file.adaptations == ()


MODIFIED = """
  - {id: stop, when: {fact: grade, operator: "==", value: 4}, action: stop-chemotherapy}
  - {id: hold, when: {fact: far, operator: "==", value: false}, action: hold-cycle}
adaptations:
"""


@pytest.mark.parametrize(("grade", "far"), list(product([None, *range(6)], [None, True, False])))
def test_more_facts_never_make_the_answer_milder(grade: int | None, far: bool | None) -> None:
    entries = parse(FILE.replace("\nadaptations:\n", MODIFIED, 1), "own.yaml").file.modifications
    known = modification(entries, {"grade": grade, "far": far})
    rank = {None: len(SEVERITY)} | {action: n for n, action in enumerate(SEVERITY)}
    for more_grade, more_far in product(
        [grade] if grade is not None else range(6), [far] if far is not None else [True, False]
    ):
        more = modification(entries, {"grade": more_grade, "far": more_far})
        assert more.missing == ()
        found, later = (m.entry.action if m.entry else None for m in (known, more))
        assert rank[later] <= rank[found]
        if not known.missing:
            assert later == found


@given(at=st.integers(1, 6000), dose=st.integers(1, 300), fractions=st.integers(1, 45))  # doses in 0.01 Gy
def test_the_fraction_that_reaches_a_dose_is_the_first_that_does(at: int, dose: int, fractions: int) -> None:
    total = dose * fractions
    course = [PrescriptionEntry(target="PTV", dose_gy=total / 100, fractions=fractions)]
    found = fraction_of_course(course, "PTV", at / 100)
    assert (found is None) == (at > total)
    assert found is None or dose * found >= at > dose * (found - 1)


def test_a_dose_that_is_reached_exactly_needs_no_fraction_more() -> None:
    assert Fraction("5.4") * 7 == Fraction("37.8")
    assert 5.4 * 7 > 37.8  # in floating point
    assert fraction_of_course([PrescriptionEntry(target="PTV", dose_gy=5.4 * 10, fractions=10)], "PTV", 37.8) == 7


def test_visits_stop_where_they_are_told_to_and_yearly_ones_go_on() -> None:
    visits = (
        VisitsEntry(every_months=3, from_month=3, to_month=6),
        VisitsEntry(every_months=12, from_month=12, to_month=None),
    )
    follow_up = FollowUpSection(counted_from="end", visits=visits)
    assert visit_months(follow_up, 2) == ()
    assert visit_months(follow_up, 5) == (3,)
    assert visit_months(follow_up, 36) == (3, 6, 12, 24, 36)
