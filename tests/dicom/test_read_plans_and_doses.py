"""Plans and doses come in with their fractions, their place and their meaning, or not at all."""

from __future__ import annotations

from copy import deepcopy

import dicom_cases as d
import numpy as np
import pytest
from pydicom.dataset import Dataset

from tailort.dicom import read_case
from tailort.errors import DicomError


def case_with(folder, *objects):
    rois = d.structure_set([("PTV50", "PTV", d.closed(-1.5, 1.5))])
    d.write(folder, *d.image_slices(), rois, *objects)
    return read_case(folder)


def test_control_points_carry_forward_what_they_leave_out(tmp_path):
    (plan,) = case_with(tmp_path, d.plan()).plans
    assert plan.fractions == 25
    assert plan.patient_position == "HFS"
    assert plan.sop_instance_uid == d.PLAN_UID
    first, second = plan.beams
    assert (first.mu, second.mu) == (120, 80)
    assert [cp.mu for cp in first.control_points] == [0, 30, 30, 120]
    assert {cp.gantry_deg for cp in second.control_points} == {90}
    assert {(cp.collimator_deg, cp.couch_deg) for cp in first.control_points} == {(10, 350)}
    assert {cp.jaws_x_mm + cp.jaws_y_mm for cp in first.control_points} == {(-20, 20, -15, 15)}
    np.testing.assert_array_equal(first.control_points[1].leaves_mm, [[-5, -6, -7], [5, 6, 7]])
    np.testing.assert_array_equal(first.control_points[3].leaves_mm, [[-1, -2, -3], [1, 2, 3]])
    assert first.leaf_boundaries_mm == (-15, -5, 5, 15)
    assert first.isocentre_mm == (1, 2, 3)
    assert first.flattened
    assert first.energy_mv == 6
    assert not first.dynamic
    assert [mu for mu, _ in first.segments()] == [30, 90]


def test_movement_with_the_beam_on_makes_a_dynamic_beam(tmp_path):
    ds = d.plan()
    ds.BeamSequence[0].ControlPointSequence[2].CumulativeMetersetWeight = "1"
    (plan,) = case_with(tmp_path, ds).plans
    assert plan.beams[0].dynamic
    assert not plan.beams[1].dynamic


def test_the_prescription_names_its_structure_and_coverage(tmp_path):
    (plan,) = case_with(tmp_path, d.plan()).plans
    (prescription,) = plan.prescriptions
    assert (prescription.target, prescription.dose_gy, prescription.fractions) == ("PTV50", 50, 25)
    assert prescription.normalisation.metric == "D95%[Gy]"


def test_an_unstated_normalisation_is_said(tmp_path):
    ds = d.plan()
    del ds.DoseReferenceSequence[0].TargetUnderdoseVolumeFraction
    case = case_with(tmp_path, ds)
    assert case.plans[0].prescriptions[0].normalisation.metric == "D50%[Gy]"
    assert any("does not tell how 50 Gy to 'PTV50' are normalised" in note for note in case.notes)


def test_roi_numbers_of_another_structure_set_name_no_target(tmp_path):
    ds = d.plan()
    elsewhere = Dataset()
    elsewhere.ReferencedSOPClassUID, elsewhere.ReferencedSOPInstanceUID = d.RTSTRUCT, "1.2.3.999"
    ds.ReferencedStructureSetSequence = [elsewhere]
    case = case_with(tmp_path, ds)
    assert case.plans[0].prescriptions == ()
    assert any("structure set that is not in the folder (1.2.3.999)" in note for note in case.notes)


def test_a_copy_of_an_object_is_read_once(tmp_path):
    d.write(tmp_path, d.dose(), start=50)
    case = case_with(tmp_path, d.plan(), d.dose())
    assert len(case.doses) == 1
    assert any("is a copy of" in note for note in case.notes)


def test_unflattened_beams_are_told(tmp_path):
    ds = d.plan()
    fluence = Dataset()
    fluence.FluenceMode, fluence.FluenceModeID = "NON_STANDARD", "FFF"
    ds.BeamSequence[1].PrimaryFluenceModeSequence = [fluence]
    (plan,) = case_with(tmp_path, ds).plans
    assert [beam.flattened for beam in plan.beams] == [True, False]


def wedge(ds):
    ds.BeamSequence[0].NumberOfWedges = 1


def no_fractions(ds):
    ds.FractionGroupSequence[0].NumberOfFractionsPlanned = None


def tipped_couch(ds):
    ds.BeamSequence[0].ControlPointSequence[0].TableTopPitchAngle = 2.0


def two_layers(ds):
    ds.BeamSequence[0].BeamLimitingDeviceSequence[2].RTBeamLimitingDeviceType = "MLCX1"


def crossed_leaves(ds):
    device = ds.BeamSequence[0].ControlPointSequence[2].BeamLimitingDevicePositionSequence[0]
    device.LeafJawPositions = ["5", "-2", "-3", "1", "2", "3"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (wedge, "has a wedge"),
        (no_fractions, "number of fractions"),
        (tipped_couch, "TableTopPitchAngle"),
        (two_layers, "MLCX1"),
        (crossed_leaves, "overlaps"),
    ],
)
def test_a_plan_the_record_cannot_hold_is_left_out_with_the_reason(tmp_path, change, reason):
    ds = d.plan()
    change(ds)
    case = case_with(tmp_path, ds)
    assert case.plans == ()
    assert any("plan 'P50' was left out" in note and reason in note for note in case.notes)


def test_electrons_are_left_out_and_their_dose_keeps_its_fractions(tmp_path):
    case = case_with(tmp_path, d.plan(radiation="ELECTRON"), d.dose())
    assert case.plans == ()
    assert case.doses[0].fractions == 25
    assert any("ELECTRON" in note for note in case.notes)


def test_a_plan_in_another_frame_is_refused(tmp_path):
    with pytest.raises(DicomError, match=r"plan 'P50'.*frame of reference 1.2.3.5, the CT in 1.2.3.4"):
        case_with(tmp_path, d.plan(frame=d.OTHER_FRAME))


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
@pytest.mark.parametrize("offsets", ["relative", "absolute"])
@pytest.mark.parametrize("feet_first", [False, True])
def test_every_dose_grid_lies_where_it_was_computed(tmp_path, bits, position, offsets, feet_first):
    case = case_with(tmp_path, d.plan(), d.dose(position=position, offsets=offsets, bits=bits, feet_first=feet_first))
    (dose,) = case.doses
    assert dose.image.grid.is_axial
    np.testing.assert_allclose(dose.image.grid.origin_mm, d.ORIGIN)
    np.testing.assert_allclose(dose.image.grid.spacing_mm, d.SPACING)
    np.testing.assert_allclose(dose.image.values, d.expected_dose(), rtol=0, atol=1e-3 if bits == 16 else 1e-5)
    assert (dose.quantity, dose.per, dose.fractions) == ("physical", "course", 25)
    assert dose.engine == "unknown"
    assert dose.plan_uid == d.PLAN_UID


def test_single_frame_doses_of_a_series_stack_up(tmp_path):
    whole = d.dose()
    size = whole.Rows * whole.Columns * 4
    planes = []
    for n in range(8):
        ds = d.dose(uid=f"1.2.3.50.{n}")
        del ds.NumberOfFrames, ds.GridFrameOffsetVector, ds.FrameIncrementPointer
        ds.ImagePositionPatient[2] = d.ORIGIN[2] + 3 * n
        ds.PixelData = whole.PixelData[n * size : (n + 1) * size]
        planes.append(ds)
    (dose,) = case_with(tmp_path, d.plan(), *planes[::-1]).doses
    np.testing.assert_allclose(dose.image.values, d.expected_dose(), atol=1e-5)


def test_a_dose_without_its_plan_says_so_and_has_no_fractions(tmp_path):
    case = case_with(tmp_path, d.dose())
    assert case.doses[0].fractions is None
    assert any("names a plan that is not in the folder" in note for note in case.notes)


def test_percent_becomes_gray_with_the_prescription(tmp_path):
    case = case_with(tmp_path, d.plan(), d.dose(units="RELATIVE", scale=2.0))
    np.testing.assert_allclose(case.doses[0].image.values, d.expected_dose(), atol=1e-4)
    assert any("100 was taken as the prescribed 50 Gy" in note for note in case.notes)


def test_percent_without_a_plan_is_refused(tmp_path):
    with pytest.raises(DicomError, match="in percent, and no plan"):
        case_with(tmp_path, d.dose(units="RELATIVE", scale=2.0))


def test_percent_of_two_prescriptions_is_refused(tmp_path):
    ds = d.plan()
    boost = deepcopy(ds.DoseReferenceSequence[0])
    boost.DoseReferenceNumber, boost.TargetPrescriptionDose = 2, "60"
    ds.DoseReferenceSequence.append(boost)
    with pytest.raises(DicomError, match="2 prescription doses"):
        case_with(tmp_path, ds, d.dose(units="RELATIVE", scale=2.0))


def test_a_dose_in_another_frame_is_refused_with_both_uids(tmp_path):
    with pytest.raises(DicomError, match=r"frame of reference 1.2.3.5, the CT in 1.2.3.4"):
        case_with(tmp_path, d.dose(frame=d.OTHER_FRAME))


def test_effective_dose_is_not_read_as_physical(tmp_path):
    case = case_with(tmp_path, d.plan(), d.dose(kind="EFFECTIVE"))
    assert case.doses == ()
    assert any("EFFECTIVE" in note for note in case.notes)


@pytest.mark.parametrize(
    ("summation", "per"), [("PLAN", "course"), ("FRACTION", "course"), ("FRACTION_SESSION", "fraction")]
)
def test_the_summation_type_tells_course_from_fraction(tmp_path, summation, per):
    case = case_with(tmp_path, d.plan(), d.dose(summation=summation))
    assert case.doses[0].per == per


def test_a_course_that_looks_like_a_fraction_is_noted(tmp_path):
    case = case_with(tmp_path, d.plan(), d.dose(scale=1 / 25))
    assert any("may be the dose of one fraction" in note for note in case.notes)


def beam_dose(number):
    return d.dose(summation="BEAM", beams=(number,), scale=number / 3, uid=f"1.2.3.60.{number}")


def test_the_doses_of_all_beams_make_the_plans_dose(tmp_path):
    (dose,) = case_with(tmp_path, d.plan(), beam_dose(1), beam_dose(2)).doses
    np.testing.assert_allclose(dose.image.values, d.expected_dose(), atol=1e-4)


def test_some_beams_are_not_a_plan(tmp_path):
    case = case_with(tmp_path, d.plan(), beam_dose(1))
    assert case.doses == ()
    assert any("not exactly the 2 beams" in note for note in case.notes)


def test_beams_are_not_added_to_their_plans_dose(tmp_path):
    case = case_with(tmp_path, d.plan(), d.dose(), beam_dose(1), beam_dose(2))
    assert len(case.doses) == 1
    np.testing.assert_allclose(case.doses[0].image.values, d.expected_dose(), atol=1e-5)


def test_a_frame_offset_that_is_neither_convention_is_refused(tmp_path):
    ds = d.dose()
    ds.GridFrameOffsetVector = [f"{float(v) + 1:g}" for v in ds.GridFrameOffsetVector]
    with pytest.raises(DicomError, match="starts with 1; expected 0"):
        case_with(tmp_path, d.plan(), ds)


def test_a_truncated_dose_is_named(tmp_path):
    ds = d.dose()
    d.write(tmp_path, *d.image_slices())
    path = tmp_path / "RD.dcm"
    ds.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DicomError, match=r"RD.dcm' is truncated"):
        read_case(tmp_path)
