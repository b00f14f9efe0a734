"""SINS, Bilsky grade and the path to surgery or SBRT (KO-10 to KO-30)."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.protocols.scores import (
    BILSKY_ORDER,
    SpinalLevel,
    bilsky_rank,
    collapse_of,
    is_high_grade,
    location_of,
    sins,
    sins_class,
    spine_path,
)
from tailort.protocols.scores.instability import POINTS, Alignment, BoneLesion, Collapse, Location, Pain, Posterolateral

VERTEBRAE = [f"{region}{n}" for region, last in (("C", 7), ("T", 12), ("L", 5), ("S", 5)) for n in range(1, last + 1)]
FULL = SpinalLevel("T4", "occasional", "mixed", "normal", "none-body-above-half", "unilateral")


def maybe(kind: object) -> st.SearchStrategy[str | None]:
    return st.sampled_from([*get_args(kind), None])


LEVELS = st.builds(
    SpinalLevel,
    st.sampled_from(VERTEBRAE),
    maybe(Pain),
    maybe(BoneLesion),
    maybe(Alignment),
    maybe(Collapse),
    maybe(Posterolateral),
)


def test_we_90_sins_of_a_stable_thoracic_vertebra_is_5() -> None:
    answer = sins([FULL])
    assert (answer.score, answer.klass, answer.surgical_consultation) == (5, "stable", False)
    assert answer.missing == ()
    assert answer.readings == ()


def test_we_91_sins_of_an_unstable_junction_is_15() -> None:
    answer = sins([SpinalLevel("C7", "mechanical", "lytic", "deformity", "below-half", "bilateral")])
    assert (answer.score, answer.klass, answer.surgical_consultation) == (15, "unstable", True)


def test_every_kind_of_finding_has_points_and_the_highest_sum_is_18() -> None:
    for component, kind in zip(POINTS, (Location, Pain, BoneLesion, Alignment, Collapse, Posterolateral), strict=True):
        assert set(POINTS[component]) == set(get_args(kind))
    worst = SpinalLevel("L5", "mechanical", "lytic", "subluxation", "above-half", "bilateral")
    least = SpinalLevel("S3", "none", "blastic", "normal", "none", "none")
    assert (sins([worst]).score, sins([least]).score) == (18, 0)


def test_ko_20_locations_cover_the_spine_as_printed() -> None:
    by_location = {kind: {name for name in VERTEBRAE if location_of(name) == kind} for kind in get_args(Location)}
    assert by_location["junctional"] == {"C1", "C2", "C7", "T1", "T2", "T11", "T12", "L1", "L5", "S1"}
    assert by_location["mobile"] == {"C3", "C4", "C5", "C6", "L2", "L3", "L4"}
    assert by_location["semirigid"] == {f"T{n}" for n in range(3, 11)}
    assert by_location["rigid"] == {"S2", "S3", "S4", "S5"}
    assert location_of("occiput") == "junctional"
    assert location_of("Th4") == location_of("t4") == "semirigid"


def test_ko_21_occasional_pain_is_1_point_and_not_2() -> None:
    scores = [sins([replace(FULL, pain=pain)]).score for pain in ("none", "occasional", "mechanical")]
    assert scores == [4, 5, 7]


def test_ko_26_classes_change_after_6_and_after_12() -> None:
    assert [sins_class(score) for score in (0, 6, 7, 12, 13, 18)] == [
        "stable", "stable", "potentially-unstable", "potentially-unstable", "unstable", "unstable",
    ]  # fmt: skip


def test_ko_27_collapse_of_exactly_half_is_3_points_and_tells_the_other_reading() -> None:
    half, below, above = (sins([replace(FULL, collapse=kind)]) for kind in ("half", "below-half", "above-half"))
    assert half.score == above.score == 7
    assert below.score == 6
    assert [reading.rule for reading in half.readings] == ["KO-27"]
    assert "SINS 6" in half.readings[0].others[0]
    assert above.readings == ()
    assert {cited.rule: cited.mark for cited in half.cited}["KO-27"] == "ambiguous"


def test_ko_27_of_several_levels_the_worst_counts() -> None:
    worse = replace(FULL, name="T5", pain="mechanical")
    answer = sins([FULL, worse])
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


@given(st.lists(LEVELS, min_size=1, max_size=3, unique_by=lambda level: level.name))
def test_an_unknown_score_lies_between_its_bounds_and_names_what_is_missing(levels: list[SpinalLevel]) -> None:
    answer = sins(levels)
    assert 0 <= answer.lowest <= answer.highest <= 18
    assert (answer.score is None) == bool(answer.missing) == (answer.lowest < answer.highest)
    if answer.klass is not None:
        assert sins_class(answer.lowest) == sins_class(answer.highest) == answer.klass


@given(LEVELS, st.data())
def test_a_fact_more_never_leaves_the_bounds(level: SpinalLevel, data: st.DataObject) -> None:
    before = sins([level])
    for component in level.missing:
        found = data.draw(st.sampled_from(list(POINTS[component])))
        after = sins([replace(level, **{component: found})])
        assert before.lowest <= after.lowest <= after.highest <= before.highest
        assert before.klass in (None, after.klass)


def test_ko_26_class_and_consultation_are_known_as_soon_as_every_possible_score_agrees() -> None:
    # The pain is 0, 1 or 3 points.
    low = SpinalLevel("T4", None, "mixed", "deformity", "none-body-above-half", "unilateral")
    assert (low.lowest, low.highest) == (6, 9)
    assert (sins([low]).klass, sins([low]).surgical_consultation) == (None, None)
    high = replace(low, name="T11", posterolateral="none")
    assert (high.lowest, high.highest) == (7, 10)
    answer = sins([high])
    assert (answer.score, answer.klass, answer.surgical_consultation) == (None, "potentially-unstable", True)
    assert answer.missing == ("T11 pain",)


def test_a_level_that_cannot_be_the_worst_needs_no_facts() -> None:
    worst = SpinalLevel("L5", "mechanical", "lytic", "subluxation", "above-half", "bilateral")
    answer = sins([worst, SpinalLevel("S3", None, None, None, None, None)])
    assert (answer.score, answer.missing) == (18, ())


@pytest.mark.parametrize("name", ["T13", "C0", "C8", "X1", "", "S6", "L", "4"])
def test_a_vertebra_that_does_not_exist_is_invalid(name: str) -> None:
    with pytest.raises(InputError, match="no vertebra"):
        location_of(name)


def test_bad_input_of_sins_is_named() -> None:
    with pytest.raises(InputError, match="pain of T4 is 'yes'"):
        replace(FULL, pain="yes")
    with pytest.raises(InputError, match="twice"):
        sins([FULL, replace(FULL, name="Th4")])
    with pytest.raises(InputError, match="without a vertebra"):
        sins([])
    with pytest.raises(InputError, match="0 to 100"):
        collapse_of(101, None)
    for score in (-1, 19, True):
        with pytest.raises(InputError, match="SINS"):
            sins_class(score)


def test_ko_30_bilsky_grades_are_in_their_order() -> None:
    assert list(BILSKY_ORDER) == ["0", "1a", "1b", "1c", "2", "3"]
    assert [bilsky_rank(grade) for grade in BILSKY_ORDER] == list(range(6))
    assert [grade for grade in BILSKY_ORDER if is_high_grade(grade)] == ["1c", "2", "3"]


@pytest.mark.parametrize("grade", ["1", "4", "", "1A", "0a"])
def test_ko_30_a_bare_1_and_other_words_are_no_grade(grade: str) -> None:
    with pytest.raises(InputError, match="Bilsky"):
        spine_path(grade, 5, True)


PATHS = {
    (False, False): ("sbrt-alone", "KO-10", None),
    (True, False): ("decompression-then-sbrt", "KO-11", "stabilisation"),
    (False, True): ("stabilisation-then-sbrt", "KO-12", "decompression"),
    (True, True): ("decompression-and-stabilisation-then-sbrt", "KO-13", None),
}


@pytest.mark.parametrize("bilsky", BILSKY_ORDER)
@pytest.mark.parametrize("score", range(19))
def test_ko_10_to_13_the_path_follows_grade_and_score(bilsky: str, score: int) -> None:
    path, rule, may_add = PATHS[bilsky in ("1c", "2", "3"), score >= 9]
    answer = spine_path(bilsky, score, True)
    assert (answer.path, answer.may_add) == (path, may_add)
    assert rule in {cited.rule for cited in answer.cited}
    assert [reading.rule for reading in answer.readings] == (["KO-13"] if rule == "KO-13" else [])
    unknown, refused = spine_path(bilsky, score, None), spine_path(bilsky, score, False)
    assert refused.path == "sbrt-alone"
    if rule == "KO-10":
        assert unknown == refused == answer
    else:
        assert (unknown.path, unknown.missing) == (None, ("surgery_possible",))
        assert "KO-14" in refused.flags[0]
        assert "KO-14" in {cited.rule for cited in refused.cited}


def test_ko_16_without_a_score_the_path_is_undetermined() -> None:
    assert spine_path(None, 18, False).missing == ("bilsky",)
    assert spine_path("0", None, True).missing == ("sins",)
    both = spine_path(None, None, None)
    assert (both.path, both.missing) == (None, ("bilsky", "sins"))
    with pytest.raises(InputError, match="SINS is 19"):
        spine_path(None, 19, True)
