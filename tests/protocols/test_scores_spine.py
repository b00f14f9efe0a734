"""SINS, Bilsky grade and the path to surgery or SBRT (KO-10 to KO-30)."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spine_patient import BOTH, DECOMPRESS, PATIENT, SBRT, SPINE, STABILISE, flags

from tailort.errors import InputError
from tailort.protocols import read_record
from tailort.protocols.scores import (
    PathAnswer,
    SinsAnswer,
    SpinalLevel,
    collapse_of,
    level_of_record,
    location_of,
    parse_levels,
    score_level,
    spine_path,
)
from tailort.protocols.scores import sins as sins_of
from tailort.protocols.scores.instability import Collapse, Location, components

VERTEBRAE = [f"{region}{n}" for region, last in (("C", 7), ("T", 12), ("L", 5), ("S", 5)) for n in range(1, last + 1)]
WORDS = {component: entry.choices for component, entry in components(SPINE).items()}
FULL: dict[str, str | None] = {
    "pain": "occasional", "bone_lesion": "mixed", "alignment": "normal", "collapse": "none-body-above-half",
    "posterolateral": "unilateral",
}  # fmt: skip
WORST: dict[str, str | None] = {
    "pain": "mechanical", "bone_lesion": "lytic", "alignment": "subluxation", "collapse": "above-half",
    "posterolateral": "bilateral",
}  # fmt: skip


def level(name: str, found: dict[str, str | None] = FULL, **more: str | None) -> SpinalLevel:
    return score_level(SPINE, name, {"location": location_of(name), **found, **more})


def sins(*levels: SpinalLevel) -> SinsAnswer:
    return sins_of(SPINE, levels)


LEVELS = st.builds(
    level,
    st.sampled_from(VERTEBRAE),
    st.fixed_dictionaries({name: st.sampled_from([*WORDS[name], None]) for name in FULL}),
)


def test_we_90_sins_of_a_stable_thoracic_vertebra_is_5() -> None:
    answer = sins(level("T4"))
    assert (answer.score, answer.klass, answer.surgical_consultation) == (5, "stable", False)
    assert answer.missing == ()
    assert answer.readings == ()


def test_we_91_sins_of_an_unstable_junction_is_15() -> None:
    answer = sins(level("C7", WORST, alignment="deformity", collapse="below-half"))
    assert (answer.score, answer.klass, answer.surgical_consultation) == (15, "unstable", True)


def test_every_kind_of_finding_has_points_and_the_highest_sum_is_18() -> None:
    assert (set(WORDS["location"]), set(WORDS["collapse"])) == (set(get_args(Location)), set(get_args(Collapse)))
    least = level("S3", pain="none", bone_lesion="blastic", alignment="normal", collapse="none", posterolateral="none")
    assert (sins(level("L5", WORST)).score, sins(least).score) == (18, 0)


def test_ko_20_locations_cover_the_spine_as_printed() -> None:
    by_location = {kind: {name for name in VERTEBRAE if location_of(name) == kind} for kind in get_args(Location)}
    assert by_location["junctional"] == {"C1", "C2", "C7", "T1", "T2", "T11", "T12", "L1", "L5", "S1"}
    assert by_location["mobile"] == {"C3", "C4", "C5", "C6", "L2", "L3", "L4"}
    assert by_location["semirigid"] == {f"T{n}" for n in range(3, 11)}
    assert by_location["rigid"] == {"S2", "S3", "S4", "S5"}
    assert location_of("occiput") == "junctional"
    assert location_of("Th4") == location_of("t4") == "semirigid"


def test_ko_21_occasional_pain_is_1_point_and_not_2() -> None:
    scores = [sins(level("T4", pain=pain)).score for pain in ("none", "occasional", "mechanical")]
    assert scores == [4, 5, 7]


def test_ko_26_classes_change_after_6_and_after_12() -> None:
    # A mixed lesion in a semirigid level has 2 points; then 4 for the alignment, 1 or 3 for the sides, 3 for collapse.
    found = [
        sins(level("T4", pain="none", posterolateral=side, alignment=alignment, collapse=collapse))
        for side, alignment, collapse in (
            ("none", "normal", "none"), ("none", "subluxation", "none"), ("unilateral", "subluxation", "none"),
            ("bilateral", "subluxation", "above-half"),
        )
    ]  # fmt: skip
    assert [one.score for one in found] == [2, 6, 7, 12]
    assert [one.klass for one in found] == ["stable", "stable", "potentially-unstable", "potentially-unstable"]
    assert [one.surgical_consultation for one in found] == [False, False, True, True]
    thirteen = sins(level("T4", WORST, bone_lesion="mixed", collapse="below-half"))
    assert (thirteen.score, thirteen.klass) == (14, "unstable")
    assert (sins(level("S3", WORST, alignment="deformity")).score, sins(level("S3", WORST)).klass) == (13, "unstable")
    assert sins(level("S3", WORST, alignment="deformity")).klass == "unstable"


def test_ko_27_collapse_of_exactly_half_is_3_points_and_tells_the_other_reading() -> None:
    half, below, above = (sins(level("T4", collapse=kind)) for kind in ("half", "below-half", "above-half"))
    assert half.score == above.score == 7
    assert below.score == 6
    assert [reading.rule for reading in half.readings] == ["KO-27"]
    assert "SINS 6" in half.readings[0].others[0]
    assert above.readings == ()
    assert {cited.rule: cited.mark for cited in half.cited}["KO-27"] == "ambiguous"


def test_ko_27_of_several_levels_the_worst_counts() -> None:
    answer = sins(level("T4"), level("T5", pain="mechanical"))
    assert (answer.score, answer.worst_level) == (7, "T5")
    assert answer.scores == (("T4", 5), ("T5", 7))
    assert answer.readings[0].rule == "KO-27"


@pytest.mark.parametrize(
    ("collapse", "involved", "kind"),
    [
        (50.1, None, "above-half"), (50, None, "half"), (49.9, None, "below-half"), (0, 51, "none-body-above-half"),
        (0, 50, "none"), (0, None, None), (None, 80, None),
    ],
)  # fmt: skip
def test_collapse_follows_from_percentages(collapse: float | None, involved: float | None, kind: str | None) -> None:
    assert collapse_of(collapse, involved) == kind


@given(st.lists(LEVELS, min_size=1, max_size=3, unique_by=lambda one: one.name))
def test_an_unknown_score_lies_between_its_bounds_and_names_what_is_missing(levels: list[SpinalLevel]) -> None:
    answer = sins(*levels)
    assert 0 <= answer.lowest <= answer.highest <= 18
    assert (answer.score is None) == bool(answer.missing) == (answer.lowest < answer.highest)
    if answer.klass is not None:
        classes = {(score >= 7) + (score >= 13) for score in (answer.lowest, answer.highest)}
        assert classes == {("stable", "potentially-unstable", "unstable").index(answer.klass)}


@given(LEVELS, st.data())
def test_a_fact_more_never_leaves_the_bounds(one: SpinalLevel, data: st.DataObject) -> None:
    before = sins(one)
    for component in one.missing:
        found = data.draw(st.sampled_from(WORDS[component]))
        after = sins(score_level(SPINE, one.name, {**one.findings, component: found}))
        assert before.lowest <= after.lowest <= after.highest <= before.highest
        assert before.klass in (None, after.klass)


def test_ko_26_class_and_consultation_are_known_as_soon_as_every_possible_score_agrees() -> None:
    # The pain is 0, 1 or 3 points.
    low = level("T4", pain=None, alignment="deformity")
    assert (low.lowest, low.highest) == (6, 9)
    assert (sins(low).klass, sins(low).surgical_consultation) == (None, None)
    high = level("T11", pain=None, alignment="deformity", posterolateral="none")
    assert (high.lowest, high.highest) == (7, 10)
    answer = sins(high)
    assert (answer.score, answer.klass, answer.surgical_consultation) == (None, "potentially-unstable", True)
    assert answer.missing == ("T11 pain",)


def test_a_level_that_cannot_be_the_worst_needs_no_facts() -> None:
    answer = sins(level("L5", WORST), level("S3", dict.fromkeys(FULL)))
    assert (answer.score, answer.missing) == (18, ())


@pytest.mark.parametrize("name", ["T13", "C0", "C8", "X1", "", "S6", "L", "4"])
def test_a_vertebra_that_does_not_exist_is_invalid(name: str) -> None:
    with pytest.raises(InputError, match="no vertebra"):
        location_of(name)


def test_bad_input_of_sins_is_named() -> None:
    with pytest.raises(InputError, match="T4: fact 'sins_pain' cannot be 'yes'"):
        level("T4", pain="yes")
    twice = "vertebra,pain,bone_lesion,alignment,posterolateral,collapse\nT4,,,,,\nTh4,,,,,\n"
    with pytest.raises(InputError, match="row 3: the vertebra 'Th4' is there twice"):
        parse_levels(SPINE, twice, "levels.csv")
    with pytest.raises(InputError, match="without a vertebra"):
        sins()
    with pytest.raises(InputError, match="0 to 100"):
        collapse_of(101, None)


def test_a_record_is_scored_as_the_protocol_scores_it_and_names_its_vertebrae_as_tg_263_does() -> None:
    assert sins(level_of_record(SPINE, read_record(PATIENT))).score == 5
    several = PATIENT | {"target_vertebrae": ["VB_T05", "VB_T06"], "sins_pain": None}
    assert sins(level_of_record(SPINE, read_record(several))).missing == ("worst level pain",)
    with pytest.raises(InputError, match="tell the 'sins_location' of the worst"):
        level_of_record(SPINE, read_record(several | {"sins_location": None}))


# The path

BILSKY = ("0", "1a", "1b", "1c", "2", "3")


def path(bilsky: str | None, score: int | None, possible: bool | None) -> PathAnswer:
    facts: dict[str, Any] = {"bilsky_grade": bilsky, "sins_score": score, "surgery_possible": possible}
    return spine_path(SPINE, read_record(facts))


def test_ko_30_bilsky_grades_are_in_their_order() -> None:
    (entry,) = (entry for entry in SPINE.file.facts if entry.name == "bilsky_grade")
    assert entry.choices == BILSKY
    assert [grade for grade in BILSKY if path(grade, 0, True).path != SBRT] == ["1c", "2", "3"]


@pytest.mark.parametrize("grade", ["1", "4", "1d", "0a"])
def test_ko_30_a_bare_1_and_other_words_are_no_grade(grade: str) -> None:
    with pytest.raises(InputError, match="bilsky_grade"):
        path(grade, 5, True)


PATHS = {
    (False, False): (SBRT, "KO-10", ""),
    (True, False): (DECOMPRESS, "KO-11", "with or without stabilisation"),
    (False, True): (STABILISE, "KO-12", "with or without decompression"),
    (True, True): (BOTH, "KO-13", ""),
}


@pytest.mark.parametrize("bilsky", BILSKY)
@pytest.mark.parametrize("score", range(19))
def test_ko_10_to_13_the_path_follows_grade_and_score(bilsky: str, score: int) -> None:
    expected, rule, note = PATHS[bilsky in ("1c", "2", "3"), score >= 9]
    answer = path(bilsky, score, True)
    assert answer.path == expected
    assert answer.note.endswith(note)
    assert rule in {cited.rule for cited in answer.cited}
    # KO-27 waits for the collapse where one point less changes the path.
    assert [reading.rule for reading in answer.readings if reading.rule != "KO-27"] == ["KO-13"] * (rule == "KO-13")
    assert ("KO-27" in {reading.rule for reading in answer.readings}) == (score == 9)
    unknown, refused = path(bilsky, score, None), path(bilsky, score, False)
    assert refused.path == SBRT
    facts: dict[str, Any] = {"bilsky_grade": bilsky, "sins_score": score, "surgery_possible": False}
    assert ("surgery-not-possible" in flags(facts)) == (rule != "KO-10")
    if rule == "KO-10":
        assert unknown == refused == answer
    else:
        assert (unknown.path, unknown.missing) == (None, ("surgery_possible",))
        assert "4 of 4 such patients failed early" in refused.note
        assert "KO-14" in {cited.rule for cited in refused.cited}


def test_ko_16_without_a_score_the_path_is_undetermined() -> None:
    assert path(None, 18, False).missing == ("bilsky_grade",)
    assert path("0", None, True).missing == ("sins_score",)
    both = path(None, None, True)
    assert (both.path, set(both.missing)) == (None, {"bilsky_grade", "sins_score"})
    assert {cited.rule for cited in both.cited} == {"KO-16"}
    with pytest.raises(InputError, match="'sins_score' cannot be 19"):
        path(None, 19, True)
