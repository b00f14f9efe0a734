"""Contours come in under TG-263 names, and what cannot be used as a volume is refused by name."""

from __future__ import annotations

import dicom_cases as d
import numpy as np
import pytest

from tailort.dicom import read_case
from tailort.errors import DicomError, InputError


def case_with(folder, *rois, names=None, **kwargs):
    d.write(folder, *d.image_slices(), d.structure_set(rois, **kwargs))
    return read_case(folder, names=names)


def refusal(folder, *rois, **kwargs):
    with pytest.raises(InputError) as caught:
        case_with(folder, *rois, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_roles_colours_and_points_are_read(tmp_path):
    case = case_with(
        tmp_path,
        ("BODY", "EXTERNAL", d.closed(-1.5, 1.5, half=10.0)),
        ("Left Parotid", "ORGAN", d.closed(1.5)),
        ("PTV70", "PTV", d.closed(1.5, half=3.0)),
        ("thing", "", d.closed(1.5)),
    )
    found = case.structures
    assert found.names == ("External", "Parotid_L", "PTV70", "thing")
    assert [s.original_name for s in found] == ["BODY", "Left Parotid", "PTV70", "thing"]
    assert [s.role for s in found] == ["EXTERNAL", "ORGAN", "PTV", "OTHER"]
    assert found["External"].colour == (1, 2, 3)
    assert found.sop_instance_uid == d.STRUCTURES_UID
    assert found.series_uid == d.CT_SERIES
    assert found.label == "TEST"
    np.testing.assert_array_equal(found["External"].slice_positions_mm, [-1.5, 1.5])
    np.testing.assert_array_equal(found["PTV70"].contours[0], np.reshape(d.square(1.5, 3.0), (4, 3)))
    assert all(s.made_by == () for s in found)


def test_a_users_names_win_over_the_table(tmp_path):
    case = case_with(tmp_path, ("Cord", "ORGAN", d.closed(0.0)), names={"Cord": "SpinalCord_PRV05"})
    assert case.structures.names == ("SpinalCord_PRV05",)


def test_two_names_for_one_volume_keep_their_own(tmp_path):
    case = case_with(tmp_path, ("Cord", "ORGAN", d.closed(0.0)), ("SpinalCord", "ORGAN", d.closed(1.5)))
    assert case.structures.names == ("Cord", "SpinalCord")
    assert any("'Cord' and 'SpinalCord' all mean 'SpinalCord'" in note for note in case.notes)


def test_a_users_name_that_is_taken_is_refused(tmp_path):
    text = refusal(tmp_path, ("Heart", "ORGAN", d.closed(0.0)), ("H2", "ORGAN", d.closed(1.5)), names={"H2": "Heart"})
    assert "'Heart' and 'H2' would both be called 'Heart'" in text


def test_empty_structures_and_points_are_left_out_with_a_note(tmp_path):
    case = case_with(
        tmp_path,
        ("Heart", "ORGAN", []),
        ("Iso", "ISOCENTER", [("POINT", [0, 0, 0])]),
        ("Wire", "MARKER", [("OPEN_PLANAR", [0, 0, 0, 1, 1, 0])]),
        ("Liver", "ORGAN", d.closed(0.0)),
    )
    assert case.structures.names == ("Liver",)
    assert any("'Heart' has no contours" in note for note in case.notes)
    assert any("'Iso': 1 POINT" in note for note in case.notes)
    assert any("'Wire': 1 OPEN_PLANAR" in note for note in case.notes)


def test_a_landmark_that_is_one_point_is_kept_as_a_point(tmp_path):
    case = case_with(
        tmp_path, ("Carina", "MARKER", [("POINT", [1.5, -2.0, 0.75])]), ("Notch", "ORGAN", [("POINT", [0, 0, 1])]),
        ("Liver", "ORGAN", d.closed(0.0)),
    )  # fmt: skip
    assert {point.name: point.position_mm for point in case.structures.points} == {
        "Carina": (1.5, -2.0, 0.75), "Notch": (0.0, 0.0, 1.0),
    }  # fmt: skip
    assert case.structures.names == ("Liver",)


def test_points_of_one_name_are_not_chosen_between(tmp_path):
    two = [("Carina", "MARKER", [("POINT", [0, 0, z])]) for z in (0.0, 1.0)]
    case = case_with(tmp_path, *two, ("Liver", "ORGAN", d.closed(0.0)))
    assert case.structures.points == ()
    assert any("several points are named 'Carina'" in note for note in case.notes)


def test_a_repeated_last_point_is_dropped(tmp_path):
    points = d.square(0.0)
    case = case_with(tmp_path, ("Liver", "ORGAN", [("CLOSED_PLANAR", points + points[:3])]))
    assert len(case.structures["Liver"].contours[0]) == 4


def test_no_structure_set_is_an_empty_one(tmp_path):
    d.write(tmp_path, *d.image_slices())
    case = read_case(tmp_path)
    assert len(case.structures) == 0
    assert case.structures.frame_of_reference == d.FRAME


def test_another_frame_of_reference_is_refused_with_both_uids(tmp_path):
    text = refusal(tmp_path, ("Heart", "ORGAN", d.closed(0.0)), frame=d.OTHER_FRAME)
    assert f"{d.OTHER_FRAME}," in text
    assert f"the CT in {d.FRAME}" in text


def test_one_roi_in_another_frame_is_refused_by_name(tmp_path):
    ds = d.structure_set([("Heart", "ORGAN", d.closed(0.0)), ("Liver", "ORGAN", d.closed(0.0))])
    ds.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = d.OTHER_FRAME
    d.write(tmp_path, *d.image_slices(), ds)
    with pytest.raises(DicomError, match=r"'Liver'.*frame of reference 1.2.3.5, the CT in 1.2.3.4"):
        read_case(tmp_path)


def test_an_open_contour_is_refused_with_its_plane(tmp_path):
    text = refusal(tmp_path, ("Heart", "ORGAN", [("OPEN_PLANAR", d.square(1.5))]))
    assert "'Heart' has an open contour at z = 1.50 mm" in text


def test_two_points_are_an_open_contour(tmp_path):
    text = refusal(tmp_path, ("Heart", "ORGAN", [("CLOSED_PLANAR", [0, 0, 1.5, 3, 3, 1.5])]))
    assert "'Heart' has an open contour at z = 1.50 mm" in text


def test_a_self_crossing_contour_is_refused_with_its_plane(tmp_path):
    bow_tie = [-5, -5, 1.5, 5, 5, 1.5, 5, -5, 1.5, -5, 5, 1.5]
    text = refusal(tmp_path, ("Heart", "ORGAN", [("CLOSED_PLANAR", bow_tie)]))
    assert "'Heart'" in text
    assert "cross" in text
    assert "1.5 mm" in text


def test_a_contour_that_is_not_transverse_is_refused_by_name(tmp_path):
    text = refusal(tmp_path, ("Heart", "ORGAN", [("CLOSED_PLANAR", [0, 0, 0, 5, 0, 0, 5, 0, 5, 0, 0, 5])]))
    assert "'Heart'" in text
    assert "transverse" in text


# The CT's faces: x -15 .. 15, y -16 .. 16, z -12 .. 12 mm.
@pytest.mark.parametrize(
    ("side", "contours"),
    [
        ("left", d.closed(0.0, centre=(12.0, 0.0))),
        ("right", d.closed(0.0, centre=(-12.0, 0.0))),
        ("back", d.closed(0.0, centre=(0.0, 12.0))),
        ("front", d.closed(0.0, centre=(0.0, -12.0))),
        ("head", d.closed(0.0, 13.6)),
        ("feet", d.closed(0.0, -13.6)),
    ],
)
def test_a_structure_outside_the_ct_is_named_with_its_side(tmp_path, side, contours):
    text = refusal(tmp_path, ("Heart", "ORGAN", contours))
    assert "'Heart' reaches" in text
    assert f"outside the CT on the {side} side" in text


def test_a_structure_wholly_outside_is_refused(tmp_path):
    assert "outside the CT on the left side" in refusal(
        tmp_path, ("Heart", "ORGAN", d.closed(0.0, centre=(200.0, 0.0)))
    )


def test_half_a_voxel_beyond_the_ct_is_the_border(tmp_path):
    case = case_with(tmp_path, ("BODY", "EXTERNAL", d.closed(0.0, 13.4, half=16.2)))
    assert case.structures.names == ("External",)


def test_a_couch_may_reach_beyond_the_ct(tmp_path):
    case = case_with(tmp_path, ("Couch", "SUPPORT", d.closed(0.0, 50.0)))
    assert "Couch" in case.structures
    assert any("'Couch' reaches" in note and "kept" in note for note in case.notes)


def test_a_set_on_another_series_of_the_folder_is_left_out(tmp_path):
    mr = d.image_slices(sop_class=d.MR, modality="MR", series="1.2.3.11", frame=d.OTHER_FRAME, uid_root="1.2.3.300")
    on_mr = d.structure_set([("GTV", "GTV", d.closed(0.0))], frame=d.OTHER_FRAME, series="1.2.3.11", uid="1.2.3.22")
    on_ct = d.structure_set([("Heart", "ORGAN", d.closed(0.0))])
    d.write(tmp_path, *d.image_slices(), *mr, on_mr, on_ct)
    case = read_case(tmp_path)
    assert case.structures.names == ("Heart",)
    assert any("drawn on another series (1.2.3.11)" in note for note in case.notes)


def test_two_sets_on_the_ct_are_refused(tmp_path):
    one = d.structure_set([("Heart", "ORGAN", d.closed(0.0))])
    two = d.structure_set([("Heart", "ORGAN", d.closed(0.0))], uid="1.2.3.22")
    d.write(tmp_path, *d.image_slices(), one, two)
    with pytest.raises(DicomError, match="2 structure sets"):
        read_case(tmp_path)


@pytest.mark.parametrize("keep", [0.35, 0.8, 0.97])
def test_a_truncated_structure_set_is_named(tmp_path, keep):
    d.write(tmp_path, *d.image_slices())
    path = tmp_path / "RS.dcm"
    ds = d.structure_set([("Heart", "ORGAN", d.closed(*np.arange(-9, 9, 3.0))), ("Liver", "ORGAN", d.closed(0.0))])
    ds.save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DicomError, match=r"RS.dcm") as caught:
        read_case(tmp_path)
    assert "truncated" in str(caught.value)
