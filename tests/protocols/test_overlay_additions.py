"""A site adds limits of its own and moves thresholds of triggers: told as its own, and never in silence."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from site_overlays import HEAD, head_of, laid

from tailort.errors import ProtocolError
from tailort.patient import Constraint
from tailort.protocols import Protocol, available, decide, describe, load, read_record
from tailort.protocols.overlay import laid_over
from tailort.protocols.overlay_file import OverlayFile
from tailort.protocols.pages import page
from tailort.protocols.plans import amended, with_plan
from tailort.protocols.proposals import proposals

MEAN = 'structure: Heart, metric: "Mean[Gy]", operator: "<=", limit: 20, priority: goal'
OURS = f"new_limits:\n  - {{id: OUR-1, text: Mean heart dose., source: Minutes of May, {MEAN}}}\n"


def named(protocol: Protocol, rule: str) -> list[Constraint]:
    return [one for one in protocol.constraints() if one.source.startswith(f"{rule}:")]


def test_an_added_limit_is_a_limit_with_the_id_text_and_source_of_the_site(tmp_path: Path) -> None:
    protocol = laid(tmp_path, OURS)
    (heart,) = named(protocol, "OUR-1")
    assert (heart.structure, heart.metric, heart.operator, heart.limit, heart.priority) == (
        "Heart", "Mean[Gy]", "<=", 20.0, "goal",
    )  # fmt: skip
    assert (heart.source, heart.mark) == ("OUR-1: Minutes of May; added by ours", "site")
    rule = protocol.rule("OUR-1")
    assert (rule.text, rule.source, rule.mark) == ("Mean heart dose.", "Minutes of May", "site")
    assert {"id": "OUR-1", "text": rule.text, "source": rule.source, "mark": "site"} in describe(protocol)["rules"]


def test_an_added_limit_is_told_wherever_changes_are(tmp_path: Path) -> None:
    protocol = laid(tmp_path, OURS)
    (overlay,) = decide(protocol, {}).overlays
    (change,) = overlay.changes
    assert change.told == "Heart Mean[Gy], OUR-1: Mean heart dose.: no such limit becomes <= 20 (goal)"
    assert (change.why, change.loosens) == ("our committee", "")
    row = "| Heart Mean[Gy], OUR-1: Mean heart dose. | no such limit | <= 20 (goal) | our committee |"
    assert row in page(protocol)


def test_all_that_was_limited_still_is(tmp_path: Path) -> None:
    protocol = laid(tmp_path, OURS)
    left = [one for one in protocol.constraints() if one not in named(protocol, "OUR-1")]
    before = load(tmp_path / "base.yaml").constraints()
    # Where no rule is named the source is the file.
    assert [replace(one, source="") for one in left] == [replace(one, source="") for one in before]


STOMACH = (
    "new_limits:\n  - {id: OUR-2, text: A perforation board., source: Minutes, structure: Stomach, "
    'metric: "D0.03cc[Gy]", operator: "<=", limit: 52, priority: hard}\n'
)


def test_a_plan_option_or_amendment_with_a_limit_of_its_own_on_the_same_metric_keeps_both(tmp_path: Path) -> None:
    protocol = laid(tmp_path, STOMACH, head_of("salvage-crt"))
    for plan in protocol.file.plans:
        for option in (None, *(option.id for option in plan.options)):
            own = with_plan(protocol, plan.id, option)
            told = [one for one in own.constraints() if (one.structure, one.metric) == ("Stomach", "D0.03cc[Gy]")]
            assert sorted(one.mark == "site" for one in told) == [False, True]
            assert len(named(amended(own, "45-in-25"), "OUR-2")) == 1


def test_a_limit_of_one_plan_holds_in_that_plan_only(tmp_path: Path) -> None:
    text = STOMACH.replace("limit: 52", "limit: 104, percent_of: PTV_5992, plan: A")
    protocol = laid(tmp_path, text, head_of("salvage-crt"))
    assert named(with_plan(protocol, "A", "6216"), "OUR-2") == []  # it does not prescribe PTV_5992
    (found,) = named(with_plan(protocol, "A"), "OUR-2")
    assert found.limit == pytest.approx(1.04 * 59.92)
    assert [named(with_plan(protocol, plan), "OUR-2") for plan in "BCD"] == [[], [], []]
    assert "Stomach D0.03cc[Gy] (plan A), OUR-2" in protocol.overlays[0].changes[0].what


@cache
def library(name: str) -> Protocol:
    return load(name)


LIBRARY = [name for name in available() if not library(name).file.only_proposes]


@cache
def courses(name: str) -> tuple[tuple[str, str | None], ...]:
    plans = library(name).file.plans
    told = [(plan.id, option) for plan in plans for option in (None, *(one.id for one in plan.options))]
    return tuple(told) or (("", None),)


def limits_of(protocol: Protocol, course: tuple[str, str | None]) -> set[tuple[str, str, str, float, str]]:
    file = (with_plan(protocol, *course) if course[0] else protocol).file
    return {(one.structure, one.metric, one.operator, one.limit, one.priority) for one in file.limits}


@given(
    st.sampled_from(LIBRARY), st.sampled_from(["Heart", "Stomach", "Esophagus", "Bowel"]),
    st.sampled_from(["Max[Gy]", "Mean[Gy]", "D0.03cc[Gy]", "V40Gy[%]"]), st.sampled_from(["<", "<="]),
    st.integers(1, 99), st.sampled_from(["hard", "goal"]),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_adding_a_limit_takes_none_away_in_any_course_and_is_there_in_all(
    name: str, structure: str, metric: str, operator: str, limit: int, priority: str
) -> None:
    protocol = library(name)
    own = {"structure": structure, "metric": metric, "operator": operator, "limit": float(limit), "priority": priority}
    taken = {(one.structure, one.metric, one.operator, one.priority) for course in courses(name)
             for one in (with_plan(protocol, *course) if course[0] else protocol).file.limits}  # fmt: skip
    overlay = OverlayFile.model_validate(
        {
            "id": "ours", "version": "1", "extends": name, "extends_version": protocol.version, "changed_by": "A",
            "why": "B", "new_limits": ({"id": "OUR-1", "text": "T", "source": "S"} | own,),
        }
    )  # fmt: skip
    if (structure, metric, operator, priority) in taken:
        return
    file, record = laid_over(protocol.file, overlay, "ours.yaml")
    changed = Protocol(file, "ours.yaml", (record,))
    assert not record.loosened
    for course in courses(name):
        more = limits_of(changed, course) - limits_of(protocol, course)
        assert more == {(structure, metric, operator, float(limit), priority)}
        assert limits_of(protocol, course) <= limits_of(changed, course)


ADDED = [
    ("id: OUR-1", "id: B-1", "new_limits[0].id: 'base' has a rule 'B-1'"),
    (", source: Minutes of May", "", "'source' is missing"),
    ("priority: goal", "priority: goal, rule: B-1", "'rule' is not known here"),
    ('"Mean[Gy]"', '"Mean"', "line 9, new_limits[0].metric"),
    ('"Mean[Gy]", operator: "<="', '"V40Gy[%]", operator: "<"', "line 9, new_limits[0]: 'base' has this limit already"),
    ("limit: 20", "limit: -1", "line 9, new_limits[0]: a limit of -1 can never be compared"),
    ("priority: goal", "priority: goal, percent_of: PTV9", "new_limits[0]: with this change 'base' is no longer"),
    ("priority: goal", "priority: goal, plan: A", "line 9, new_limits[0].plan: 'base' has no plan 'A'; it has none"),
    (
        "priority: goal", 'priority: goal, when: {fact: age, operator: ">", value: 7}',
        "line 9, new_limits[0]: with this change 'base' is no longer valid, at limits.4.when.fact: fact 'age' is not",
    ),
    ("priority: goal", "priority: goal, loosens_hard_limit: true", "loosens no hard limit: leave the key out"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "told"), ADDED)
def test_a_faulty_addition_is_told_with_file_line_and_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert OURS.count(old) == 1
    with pytest.raises(ProtocolError) as caught:
        laid(tmp_path, OURS.replace(old, new))
    assert str(caught.value).startswith(str(tmp_path / "ours.yaml"))
    assert told in str(caught.value)


# Triggers


def trigger(folder: Path, change: str) -> Protocol:
    return laid(folder, f"triggers:\n  - {{{change}}}\n", head_of("individualised"))


def fires(protocol: Protocol, name: str, **facts: object) -> str:
    told = proposals(protocol, read_record(dict(facts)))
    return next(one.answer for one in told.triggers if one.entry.id == name)


WEIGHT = "trigger: anatomy, fact: weight_loss_in_course_percent, was: 10"


def test_a_trigger_fires_at_the_threshold_of_the_site_and_names_it_among_its_rules(tmp_path: Path) -> None:
    protocol, base = trigger(tmp_path, f"{WEIGHT}, value: 5"), load("individualised")
    other = {"contour_change_cm": 0.0, "effusion_or_atelectasis_changed": False}
    for loss, was, now in ((4.0, "no", "no"), (7.0, "no", "yes"), (11.0, "yes", "yes")):
        assert fires(base, "anatomy", weight_loss_in_course_percent=loss, **other) == was
        assert fires(protocol, "anatomy", weight_loss_in_course_percent=loss, **other) == now
    (change,) = protocol.overlays[0].changes
    assert change.told == (
        "trigger anatomy: weight_loss_in_course_percent > 10 becomes weight_loss_in_course_percent > 5"
    )
    (made,) = [one for one in protocol.file.triggers if one.id == "anatomy"]
    assert made.rules[-1] == "ours"
    assert [one for one in protocol.file.triggers if one.id != "anatomy"] == [
        one for one in base.file.triggers if one.id != "anatomy"
    ]


@pytest.mark.parametrize(
    ("change", "rarer"),
    [
        (f"{WEIGHT}, value: 5", False), (f"{WEIGHT}, value: 15", True),
        ("trigger: tumour, fact: tumour_volume_change_percent, was: -30, value: -20", False),
        ("trigger: tumour, fact: tumour_volume_change_percent, was: -30, value: -40", True),
        ("trigger: dose-50-gy, fact: target_dose_delivered_gy, was: 50, value: 54", True),
    ],
)  # fmt: skip
def test_a_trigger_that_fires_more_rarely_is_told_as_a_requirement_that_is_loosened(
    tmp_path: Path, change: str, rarer: bool
) -> None:
    (made,) = trigger(tmp_path, change).overlays[0].changes
    assert (made.loosens == "requirement") == rarer
    assert ("requirement loosened" in made.told) == rarer


def test_below_a_not_a_threshold_loosens_the_other_way(tmp_path: Path) -> None:
    base = """
triggers:
  - id: late
    text: Late.
    change: anatomy
    guidance: anatomical
    evidence: {level: group, kind: practice}
    when: {not: {fact: kps, operator: ">=", value: 70}}
    actions: [{action: review}]
"""
    lower = "triggers:\n  - {trigger: late, fact: kps, was: 70, value: 60}\n"
    for change, rarer in ((lower, True), (lower.replace("60", "80"), False)):
        (made,) = laid(tmp_path, change, more=base).overlays[0].changes
        assert (made.loosens == "requirement") == rarer


def test_a_threshold_under_a_reading_is_told_beside_it(tmp_path: Path) -> None:
    protocol = trigger(tmp_path, "trigger: coverage, fact: ctv_d95_fall_percent, was: 3, value: 2")
    (told,) = [one for one in decide(protocol, {}).defaults if one.rule == "ID-02"]
    assert "changed by ours: trigger coverage" in told.taken


TRIGGERS = [
    (WEIGHT.replace("anatomy", "late") + ", value: 5", "triggers[0].trigger: 'individualised' has no trigger 'late'"),
    (
        WEIGHT.replace("weight", "height") + ", value: 5",
        "[0].fact: trigger 'anatomy' has no threshold of 'height",
    ),
    (
        WEIGHT.replace("10", "9") + ", value: 5",
        "[0].was: the threshold of 'weight_loss_in_course_percent' is 10",
    ),
    (WEIGHT + ", value: 10", "triggers[0]: this changes nothing"),
    (WEIGHT + ", value: much", "triggers[0].value"),
    (WEIGHT + ", value: 500", "line 9, triggers[0]: with this change 'individualised' is no longer valid"),
    ("trigger: motion, fact: motion_beyond_margin, was: 1, value: 2", "it has those of: none"),
]


@pytest.mark.parametrize(("change", "told"), TRIGGERS)
def test_a_faulty_threshold_is_told_with_file_line_and_place(tmp_path: Path, change: str, told: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        trigger(tmp_path, change)
    assert f"{tmp_path / 'ours.yaml'}, line 9" in str(caught.value)
    assert told in str(caught.value)


def test_an_overlay_may_add_and_the_next_one_may_tighten_what_was_added(tmp_path: Path) -> None:
    laid(tmp_path, OURS)
    head = HEAD.replace("id: ours", "id: mine").replace("base.yaml", "ours.yaml").replace('"3"', '"1"')
    change = 'limits:\n  - {structure: Heart, metric: "Mean[Gy]", was: 20, limit: 18}\n'
    (heart,) = named(laid(tmp_path, change, head, "mine.yaml"), "OUR-1")
    assert heart.limit == 18.0
    assert heart.source == "OUR-1: Minutes of May; <= 20 (goal) as changed by mine"
