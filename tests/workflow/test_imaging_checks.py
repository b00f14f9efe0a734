"""Images are compared with what a protocol asks of them; what cannot be seen is unknown, and motion never fails."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from tailort.geometry import Grid, Image
from tailort.patient import Case, Person, Scan, Structure, StructureSet
from tailort.protocols.imaging import ImagingSection
from tailort.workflow.imaging import ImagingRow, check_imaging, slice_distances_mm

FRAME = "1.2.3"


def tuples(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: tuples(value) for key, value in node.items()}
    return tuple(tuples(value) for value in node) if isinstance(node, list) else node


def section(text: str) -> ImagingSection:
    return ImagingSection.model_validate(tuples(YAML(typ="safe", pure=True).load(text)))


# The requirements of RT-35, RT-36, RT-37, RT-42 as a file of the E-0113 technique would tell them.
RTOG = section("""\
slices:
  - {of: [GTVp], if_drawn: [GTVn], at_most_mm: 5, note_below_mm: 3, contiguous: true, rules: [RT-35]}
  - {of: [GTVp], if_drawn: [GTVn], elsewhere: true, at_most_mm: 10, rules: [RT-35]}
extent:
  - from: {structure: Cricoid, edge: superior, landmark: cricoid_upper_edge}
    to: {structure: Liver, edge: inferior}
    rules: [RT-35]
contours:
  - {organ: both lungs, one_of: [[Lungs], [Lung_L, Lung_R]], rules: [RT-37]}
  - {organ: skin, one_of: [[Skin], [External]], rules: [RT-37]}
  - {organ: heart, one_of: [[Heart]], rules: [RT-37]}
  - {organ: spinal cord, one_of: [[SpinalCord]], rules: [RT-37]}
  - {organ: oesophagus, one_of: [[Esophagus]], rules: [RT-37]}
  - {organ: liver, one_of: [[Liver]], rules: [RT-37]}
facts:
  - text: Barium at the planning CT, or a diagnostic chest CT with contrast medium before
    holds:
      any:
        - {fact: barium_at_planning_ct, operator: "==", value: true}
        - {fact: contrast_chest_ct, operator: "==", value: true}
    rules: [RT-42]
  - text: Individual immobilisation on a flat table
    holds:
      all:
        - {fact: individual_immobilisation, operator: "==", value: true}
        - {fact: flat_table, operator: "==", value: true}
    rules: [RT-36]
""")
# KO-40 to KO-42.
SPINE = section("""\
slices: [{at_most_mm: 1, rules: [KO-41]}]
positions: [{patient: supine, rules: [KO-40]}]
series:
  - {modality: MR, at_least: 3, at_most_mm: 1, transverse: true, same_frame: true, same_position: true, rules: [KO-41]}
facts:
  - text: CT myelogram with intrathecal contrast 2 h before the CT
    when: {fact: spinal_hardware, operator: "==", value: true}
    holds: {fact: ct_myelogram, operator: "==", value: true}
    rules: [KO-42]
""")
MOTION = section("""\
slices: [{at_most_mm: 3, otherwise: note, rules: [G-07]}]
motion:
  - text: 4D-CT or another assessment of motion
    holds: {fact: motion_assessed, operator: "==", value: true}
    rules: [G-07]
""")
ORGANS = ("Lung_L", "Lung_R", "External", "Heart", "SpinalCord", "Esophagus", "Liver")
FACTS = {
    "barium_at_planning_ct": False,
    "contrast_chest_ct": True,
    "individual_immobilisation": True,
    "flat_table": True,
}


def scan(
    spacing_mm: float, slices: int, position: str = "HFS", modality: str = "CT", uid: str = "9.1", **more: Any
) -> Scan:
    grid = Grid.axial((slices, 2, 2), (spacing_mm, 1, 1), (0, 0, 0), more.pop("frame", FRAME))
    thickness = more.pop("thickness", spacing_mm)
    image = Image(grid, np.zeros(grid.shape), "HU" if modality == "CT" else "1")
    return Scan(image, modality, uid, "9", ("9.1.1",), position, slice_thickness_mm=thickness, **more)  # type: ignore[arg-type]


def drawn(name: str, low_mm: float, high_mm: float) -> Structure:
    square = [(0, 0), (1, 0), (1, 1)]
    contours = tuple(np.array([(x, y, z) for x, y in square]) for z in (low_mm, high_mm))
    return Structure(name, "ORGAN", contours, FRAME)


def case(*scans: Scan, **spans_mm: tuple[float, float]) -> Case:
    return Case(Person("P"), scans, StructureSet(tuple(drawn(n, *span) for n, span in spans_mm.items()), FRAME))


def whole(*scans: Scan, **spans_mm: tuple[float, float]) -> Case:
    organs = dict.fromkeys(ORGANS, (30.0, 60.0)) | {"GTVp": (30.0, 60.0), "Cricoid": (270.0, 280.0)}
    return case(*(scans or (scan(3, 101),)), **(organs | spans_mm))


def told(case_: Case, asked: ImagingSection, values: dict[str, Any] | None = None, **more: Any) -> list[ImagingRow]:
    return list(check_imaging(case_, asked, values=values or {}, **more))


def verdicts(rows: list[ImagingRow]) -> list[tuple[str, str]]:
    return [(row.rules[0], row.verdict) for row in rows]


def test_a_ct_as_the_trial_asks_for_passes_every_rule() -> None:
    rows = told(whole(), RTOG, FACTS)
    assert {row.verdict for row in rows} == {"pass"}
    assert {rule for row in rows for rule in row.rules} == {"RT-35", "RT-36", "RT-37", "RT-42"}


@pytest.mark.parametrize(
    ("spacing_mm", "verdict"), [(2.0, "note"), (2.5, "note"), (3.0, "pass"), (5.0, "pass"), (5.5, "fail"), (10, "fail")]
)
def test_slices_of_the_tumour_region_are_at_most_5_mm_and_below_3_mm_are_noted(spacing_mm: float, verdict: str) -> None:
    """RT-35 as accepted in protocols.md."""
    found = told(whole(scan(spacing_mm, 60)), RTOG)
    assert found[0].verdict == verdict
    assert found[1].verdict == "pass"


def test_slices_elsewhere_are_at_most_10_mm() -> None:
    assert told(whole(scan(10.0, 60)), RTOG)[1].verdict == "pass"
    assert told(whole(scan(10.5, 60)), RTOG)[1].verdict == "fail"


def test_the_slice_thickness_of_the_file_counts_beside_the_distance() -> None:
    assert told(whole(scan(3, 101, thickness=6.0)), RTOG)[0].verdict == "fail"
    gaps = told(whole(scan(5, 101, thickness=3.0)), RTOG)
    assert (gaps[0].verdict, gaps[1].verdict) == ("fail", "pass")
    untold = told(whole(scan(5, 101, thickness=None)), RTOG)[0]
    assert untold.verdict == "unknown"
    assert "not told" in untold.found


def test_a_region_that_is_not_drawn_is_unknown_only_where_it_matters() -> None:
    organs = dict.fromkeys(ORGANS, (30.0, 60.0))
    assert told(case(scan(3, 101), **organs), RTOG)[0].verdict == "pass"
    assert told(case(scan(7, 60), **organs), RTOG)[0].verdict == "fail"


def test_uneven_slices_are_judged_where_the_tumour_is() -> None:
    z = [0, 10, 20, 24, 28, 32, 36, 46, 56]
    assert slice_distances_mm(z, [(22, 34)]).tolist() == [4, 4, 4, 4]
    assert slice_distances_mm(z, [(22, 34)], inside=False).tolist() == [10, 10, 10, 10]
    assert slice_distances_mm(z, [(20, 36)]).tolist() == [4, 4, 4, 4]
    assert slice_distances_mm(z, [(20, 20)]).tolist() == [10, 4]
    assert slice_distances_mm(z[::-1], [(22, 23), (40, 41)]).tolist() == [4, 10]


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=4),
)
def test_a_slice_gap_lies_in_the_region_or_outside_it(gaps: list[int], spans: list[tuple[int, int]]) -> None:
    z = np.concatenate([[0], np.cumsum(gaps)])
    regions = [(float(low), float(low + size)) for low, size in spans]
    both = [*slice_distances_mm(z, regions), *slice_distances_mm(z, regions, inside=False)]
    assert sorted(both) == sorted(gaps)


def test_the_extent_is_seen_where_a_slice_lies_beyond_the_organ() -> None:
    (row,) = [r for r in told(whole(), RTOG) if r.requirement.startswith("CT from")]
    assert row.verdict == "pass"


@pytest.mark.parametrize("end", [{"Liver": (0.0, 60.0)}, {"Cricoid": (270.0, 300.0)}])
def test_an_organ_drawn_up_to_the_last_slice_leaves_the_extent_unknown(end: dict[str, tuple[float, float]]) -> None:
    (row,) = [r for r in told(whole(**end), RTOG) if r.requirement.startswith("CT from")]
    assert row.verdict == "unknown"
    assert "up to the last slice" in row.found


def test_a_landmark_outside_the_ct_fails_and_one_inside_passes() -> None:
    organs = dict.fromkeys(ORGANS, (30.0, 60.0))
    found = {
        z: told(case(scan(3, 101), **organs), RTOG, landmarks_mm={"cricoid_upper_edge": z})[2].verdict
        for z in (280.0, 301.5, 302.0)
    }
    assert found == {280.0: "pass", 301.5: "pass", 302.0: "fail"}
    untold = told(case(scan(3, 101), **organs), RTOG)[2]
    assert (untold.verdict, untold.missing) == ("unknown", ("Cricoid",))


@pytest.mark.parametrize("organ", ["Heart", "SpinalCord", "Esophagus", "Liver", "Lung_L", "External"])
def test_a_missing_contour_is_a_violation_and_named(organ: str) -> None:
    spans = {name: (30.0, 60.0) for name in (*ORGANS, "GTVp", "Cricoid") if name != organ}
    failed = [row for row in told(case(scan(3, 101), **spans), RTOG, FACTS) if row.verdict == "fail"]
    assert [row.rules for row in failed] == [("RT-37",)]
    assert organ in failed[0].requirement
    assert "not drawn" in failed[0].found


def test_lungs_may_be_drawn_as_one_or_as_two() -> None:
    spans = {name: (30.0, 60.0) for name in (*ORGANS, "GTVp", "Cricoid") if not name.startswith("Lung_")}
    assert told(case(scan(3, 101), **spans, Lungs=(30, 60)), RTOG, FACTS)[3].verdict == "pass"


@pytest.mark.parametrize(
    ("barium", "contrast", "verdict"),
    [
        (True, None, "pass"),
        (None, True, "pass"),
        (False, False, "fail"),
        (False, None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_barium_is_optional_after_a_chest_ct_with_contrast(barium: object, contrast: object, verdict: str) -> None:
    rows = told(whole(), RTOG, FACTS | {"barium_at_planning_ct": barium, "contrast_chest_ct": contrast})
    (row,) = [row for row in rows if row.rules == ("RT-42",)]
    assert row.verdict == verdict
    assert bool(row.missing) == (verdict == "unknown")


def mr(uid: str, **more: Any) -> Scan:
    return scan(1, 40, modality="MR", uid=uid, **more)


def spine(*further: Scan, ct: Scan | None = None) -> list[str]:
    return [row.verdict for row in told(case(ct or scan(1, 101), *further), SPINE, {"spinal_hardware": False})]


def test_the_spine_protocol_asks_for_1_mm_supine_and_three_mr_series_on_the_ct() -> None:
    assert spine(mr("1"), mr("2"), mr("3")) == ["pass", "pass", "pass"]
    assert spine(mr("1"), mr("2")) == ["pass", "pass", "fail"]
    assert spine(mr("1"), mr("2"), mr("3", frame="7.7")) == ["pass", "pass", "unknown"]
    assert spine(mr("1"), mr("2"), scan(2, 20, modality="MR", uid="3")) == ["pass", "pass", "fail"]
    assert spine(mr("1"), mr("2"), mr("3", position="HFP")) == ["pass", "pass", "fail"]
    assert spine(mr("1"), mr("2"), mr("3"), ct=scan(2, 101, "HFP"))[:2] == ["fail", "fail"]


def test_a_sagittal_series_is_no_transverse_one() -> None:
    sagittal = Grid((10, 4, 4), np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), FRAME)
    turned = replace(mr("3"), image=Image(sagittal, np.zeros(sagittal.shape), "1"))
    (row,) = [r for r in told(case(scan(1, 101), mr("1"), mr("2"), turned), SPINE) if "MR" in r.requirement]
    assert row.verdict == "fail"
    assert "not transverse" in row.found


def test_a_requirement_is_asked_only_where_its_condition_holds() -> None:
    images = case(scan(1, 101), mr("1"), mr("2"), mr("3"))

    def myelogram(**values: bool) -> list[tuple[str, tuple[str, ...]]]:
        rows = told(images, SPINE, values)
        return [(row.verdict, row.missing) for row in rows if row.rules == ("KO-42",)]

    assert myelogram(spinal_hardware=False) == []
    assert myelogram(spinal_hardware=True, ct_myelogram=True) == [("pass", ())]
    assert myelogram(spinal_hardware=True, ct_myelogram=False) == [("fail", ())]
    assert myelogram(spinal_hardware=True) == [("unknown", ("ct_myelogram",))]
    assert myelogram(ct_myelogram=True) == [("pass", ())]
    assert myelogram(ct_myelogram=False) == [("unknown", ("spinal_hardware",))]


@pytest.mark.parametrize(("value", "verdict"), [(True, "pass"), (False, "note"), (None, "note")])
def test_motion_management_is_recorded_and_never_fails(value: object, verdict: str) -> None:
    rows = told(whole(scan(5, 61)), MOTION, {"motion_assessed": value})
    assert verdicts(rows) == [("G-07", "note"), ("G-07", verdict)]
    assert rows[1].missing == (("motion_assessed",) if value is None else ())


def test_a_file_cannot_make_motion_fail() -> None:
    with pytest.raises(ValidationError, match="otherwise"):
        section('motion: [{text: m, holds: {fact: f, operator: "==", value: true}, otherwise: fail}]')


@given(st.dictionaries(st.sampled_from([*FACTS, "motion_assessed"]), st.sampled_from([True, False, None])))
def test_more_facts_only_turn_an_unknown_into_an_answer(values: dict[str, Any]) -> None:
    images = whole()
    more = {name: True if value is None else value for name, value in values.items()}
    for before, after in zip(told(images, RTOG, values), told(images, RTOG, more), strict=True):
        assert before.verdict in ("unknown", after.verdict)


def test_views_with_a_scale_are_told_by_whoever_writes_the_report() -> None:
    asked = section("views: [{text: Beam's-eye views with a scale, rules: [RT-30]}]")
    found = [told(whole(), asked, views_drawn=drawn)[0].verdict for drawn in (None, True, False)]
    assert found == ["unknown", "pass", "fail"]


@pytest.mark.parametrize(
    "text",
    [
        "slices: [{at_most_mm: 5, elsewhere: true}]",
        "slices: [{at_most_mm: 5, note_below_mm: 6}]",
        "slices: [{at_most_mm: -1}]",
        "extent: [{from: {structure: Liver}, to: {landmark: a}}]",
        "extent: [{from: {}, to: {landmark: a}}]",
        "contours: [{organ: x, one_of: []}]",
        "colour: red",
    ],
)
def test_a_section_that_says_nothing_clear_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        section(text)


def test_a_row_is_ready_for_json() -> None:
    row = told(whole(), RTOG)[0]
    assert row.as_dict()["rules"] == ["RT-35"]
    assert set(row.as_dict()) == {"rules", "requirement", "found", "verdict", "missing"}


def test_the_example_of_the_documents_is_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "imaging.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert {rule for row in told(whole(), section(text), {"tumour_level": "middle"}) for rule in row.rules} == {
        "RT-35", "RT-43", "RT-37", "KO-41", "RT-36", "G-07"
    }  # fmt: skip
