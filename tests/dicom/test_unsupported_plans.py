"""A plan is read right or left out by name: what stands in the beam, what does not add up, what is missing."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import dicom_cases as d
import numpy as np
import pytest
from pydicom.dataset import Dataset

from tailort.dicom import read_case
from tailort.patient import Beam, Case

Change = Callable[[Dataset], None]


def case_with(folder: Path, plan: Dataset, *rois: object) -> Case:
    structures = d.structure_set([("PTV50", "PTV", d.closed(-1.5, 1.5)), *rois])
    d.write(folder, *d.image_slices(), structures, plan)
    return read_case(folder)


def beam(ds: Dataset, n: int = 0) -> Dataset:
    return ds.BeamSequence[n]


def point(ds: Dataset, n: int) -> Dataset:
    return beam(ds).ControlPointSequence[n]


def item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def positions(ds: Dataset, kind: str, index: int = 0) -> Dataset:
    return next(p for p in point(ds, index).BeamLimitingDevicePositionSequence if p.RTBeamLimitingDeviceType == kind)


def wedge(ds: Dataset) -> None:
    beam(ds, 1).WedgeSequence = [item(WedgeID="EDW60OUT", WedgeType="DYNAMIC")]
    beam(ds, 1).NumberOfWedges = 1


def block(ds: Dataset) -> None:
    beam(ds).NumberOfBlocks = 1


def uncounted_block(ds: Dataset) -> None:
    beam(ds).BlockSequence = [item(BlockName="lung shield")]


def compensator(ds: Dataset) -> None:
    beam(ds).NumberOfCompensators = 1
    beam(ds).CompensatorSequence = [item(CompensatorID="C1")]


def cone(ds: Dataset) -> None:
    beam(ds).ApplicatorSequence = [item(ApplicatorID="Cone 15 mm")]


def bolus_without_name(ds: Dataset) -> None:
    beam(ds).NumberOfBoli = 1


def bolus_that_is_an_organ(ds: Dataset) -> None:
    beam(ds).NumberOfBoli = 1
    beam(ds).ReferencedBolusSequence = [item(ReferencedROINumber=3)]


def electrons(ds: Dataset) -> None:
    beam(ds, 1).RadiationType = "ELECTRON"


def protons(ds: Dataset) -> None:
    beam(ds).RadiationType = "PROTON"


def no_radiation(ds: Dataset) -> None:
    del beam(ds).RadiationType


def srs_mode(ds: Dataset) -> None:
    beam(ds).PrimaryFluenceModeSequence = [item(FluenceMode="NON_STANDARD", FluenceModeID="SRS")]


def device_geometry(ds: Dataset) -> None:
    ds.RTPlanGeometry = "TREATMENT_DEVICE"


def sideways(ds: Dataset) -> None:
    ds.PatientSetupSequence[0].PatientPosition = "HFDL"


def no_mu(ds: Dataset) -> None:
    del ds.FractionGroupSequence[0].ReferencedBeamSequence[1].BeamMeterset


def zero_mu(ds: Dataset) -> None:
    ds.FractionGroupSequence[0].ReferencedBeamSequence[1].BeamMeterset = "0"


def mu_of_no_beam(ds: Dataset) -> None:
    del ds.BeamSequence[1]


def two_of_a_number(ds: Dataset) -> None:
    beam(ds, 1).BeamNumber = 1


def open_end(ds: Dataset) -> None:
    beam(ds).FinalCumulativeMetersetWeight = "2.5"


def falling(ds: Dataset) -> None:
    point(ds, 2).CumulativeMetersetWeight = "0.25"


def late_start(ds: Dataset) -> None:
    point(ds, 0).CumulativeMetersetWeight = "0.1"


def no_weight(ds: Dataset) -> None:
    point(ds, 1).CumulativeMetersetWeight = None


def lost_point(ds: Dataset) -> None:
    beam(ds).NumberOfControlPoints = 5


def single_point(ds: Dataset) -> None:
    del beam(ds).ControlPointSequence[1:]
    beam(ds).NumberOfControlPoints = 1


def crossed_leaves(ds: Dataset) -> None:
    positions(ds, "MLCX", 2).LeafJawPositions = ["-1", "4", "-3", "1", "2", "3"]


def lost_leaf(ds: Dataset) -> None:
    positions(ds, "MLCX", 2).LeafJawPositions = ["-1", "-3", "1", "3"]


def crossed_jaws(ds: Dataset) -> None:
    positions(ds, "Y").LeafJawPositions = ["15", "-15"]


def sideways_leaves(ds: Dataset) -> None:
    beam(ds).BeamLimitingDeviceSequence[2].RTBeamLimitingDeviceType = "MLCY"


def two_mlcs(ds: Dataset) -> None:
    beam(ds).BeamLimitingDeviceSequence.append(deepcopy(beam(ds).BeamLimitingDeviceSequence[2]))


def two_x_jaws(ds: Dataset) -> None:
    beam(ds).BeamLimitingDeviceSequence[1].RTBeamLimitingDeviceType = "X"


def unset_leaves(ds: Dataset) -> None:
    for n in (0, 2):
        kept = [p for p in point(ds, n).BeamLimitingDevicePositionSequence if p.RTBeamLimitingDeviceType != "MLCX"]
        point(ds, n).BeamLimitingDevicePositionSequence = kept


def undeclared_leaves(ds: Dataset) -> None:
    del beam(ds).BeamLimitingDeviceSequence[2]


def lost_boundary(ds: Dataset) -> None:
    beam(ds).BeamLimitingDeviceSequence[2].LeafPositionBoundaries = ["-15", "-5", "5"]


def folded_boundaries(ds: Dataset) -> None:
    beam(ds).BeamLimitingDeviceSequence[2].LeafPositionBoundaries = ["-15", "5", "-5", "15"]


def moving_couch(ds: Dataset) -> None:
    point(ds, 0).TableTopLongitudinalPosition = "100"
    point(ds, 2).TableTopLongitudinalPosition = "104"


def moving_isocentre(ds: Dataset) -> None:
    point(ds, 2).IsocenterPosition = ["1", "2", "8"]


def far_isocentre(ds: Dataset) -> None:
    point(ds, 0).IsocenterPosition = ["1", "2", "93"]


def other_energy(ds: Dataset) -> None:
    point(ds, 2).NominalBeamEnergy = "10"


def no_energy(ds: Dataset) -> None:
    del point(ds, 0).NominalBeamEnergy


def contradiction(ds: Dataset) -> None:
    point(ds, 0).GantryRotationDirection = "CC"
    point(ds, 1).GantryAngle = "20"


REFUSED: dict[str, tuple[Change, str]] = {
    "wedge": (wedge, "beam 'B2' has a wedge 'EDW60OUT' (DYNAMIC), which is unsupported"),
    "block": (block, "beam 'B1' has a block, which is unsupported"),
    "uncounted block": (uncounted_block, "beam 'B1' has a block 'lung shield'"),
    "compensator": (compensator, "beam 'B1' has a compensator 'C1'"),
    "cone": (cone, "beam 'B1' has an applicator 'Cone 15 mm'"),
    "bolus without name": (bolus_without_name, "beam 'B1' has a bolus that names no structure"),
    "bolus that is an organ": (bolus_that_is_an_organ, "has a bolus that is 'PTV50', a structure of type PTV"),
    "electrons": (electrons, "beam 'B2' is of radiation ELECTRON, which is unsupported; only photon beams"),
    "protons": (protons, "beam 'B1' is of radiation PROTON, which is unsupported"),
    "no radiation": (no_radiation, "beam 'B1' is of an unknown radiation"),
    "fluence mode": (srs_mode, "beam 'B1' has the non-standard fluence mode 'SRS'"),
    "geometry": (device_geometry, "its geometry is that of the treatment device"),
    "position": (sideways, "its patient positions are HFDL"),
    "no MU": (no_mu, "beam 'B2' has no Beam Meterset, so its MU are unknown"),
    "zero MU": (zero_mu, "beam 'B2' has 0 MU; expected more than 0"),
    "MU of no beam": (mu_of_no_beam, "it has MU for beam number 2, which is not in the file"),
    "two of a number": (two_of_a_number, "several of its beams have one number: 1, 1"),
    "open end": (open_end, "beam 'B1' end at a cumulative meterset weight of 2, the beam at 2.5"),
    "falling weights": (falling, "the cumulative meterset weights of beam 'B1' do not rise from 0"),
    "late start": (late_start, "the cumulative meterset weights of beam 'B1' do not rise from 0"),
    "no weight": (no_weight, "control point 1 of beam 'B1' has no Cumulative Meterset Weight"),
    "lost point": (lost_point, "beam 'B1' has 4 control points; expected 5"),
    "single point": (single_point, "beam 'B1' has 1 control points; expected 2"),
    "crossed leaves": (
        crossed_leaves,
        "beam 'B1', control point 2: leaf pair 2 overlaps its partner by 2 mm (4 and 2 mm)",
    ),
    "lost leaf": (lost_leaf, "control point 2 has 4 leaf positions for 3 leaf pairs; expected 6"),
    "crossed jaws": (crossed_jaws, "beam 'B1', control point 0: Y jaws at 15 and -15 mm overlap"),
    "leaves along y": (sideways_leaves, "beam 'B1' has the beam limiting device MLCY (leaves that move along y)"),
    "two MLCs": (two_mlcs, "beam 'B1' has two beam limiting devices MLCX; only one is supported"),
    "two X jaws": (two_x_jaws, "beam 'B1' has two beam limiting devices X; only one is supported"),
    "unset leaves": (unset_leaves, "beam 'B1' has MLCX without positions in its first control point"),
    "undeclared leaves": (undeclared_leaves, "beam 'B1' has positions of MLCX, which is none of its"),
    "lost boundary": (lost_boundary, "beam 'B1' has 3 leaf boundaries for 3 leaf pairs; expected 4"),
    "folded boundaries": (folded_boundaries, "the leaf boundaries of beam 'B1' do not ascend"),
    "moving couch": (moving_couch, "the couch moves during beam 'B1' (TableTopLongitudinalPosition)"),
    "moving isocentre": (moving_isocentre, "the isocentre of beam 'B1' moves during the beam"),
    "far isocentre": (far_isocentre, "the isocentre of beam 'B1' (1, 2, 93 mm) lies 81 mm outside the CT"),
    "other energy": (other_energy, "the energy of beam 'B1' changes during the beam"),
    "no energy": (no_energy, "beam 'B1' has no nominal energy"),
    "long way round": (contradiction, "its direction CC is the long way of 340 degrees"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_plan_that_cannot_be_right_is_left_out_whole_and_says_why(what: str, tmp_path: Path) -> None:
    change, reason = REFUSED[what]
    ds = d.plan()
    change(ds)
    case = case_with(tmp_path, ds)
    assert case.plans == ()
    (note,) = [n for n in case.notes if "plan 'P50' was left out" in n]
    assert reason in note


def test_a_beam_without_jaws_is_open_as_far_as_the_machine_goes_and_says_so(tmp_path: Path) -> None:
    ds = d.plan()
    for n in (0, 1):
        del beam(ds, n).BeamLimitingDeviceSequence[0]
        first = beam(ds, n).ControlPointSequence[0]
        first.BeamLimitingDevicePositionSequence = first.BeamLimitingDevicePositionSequence[1:]
    case = case_with(tmp_path, ds)
    assert case.plans[0].beams[0].control_points[0].jaws_x_mm == (-200, 200)
    assert any("beam 'B1' has no X jaws, read as open to 200 mm" in note for note in case.notes)


def test_an_ion_plan_is_named_as_unsupported(tmp_path: Path) -> None:
    ds = d.plan()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.8"
    case = case_with(tmp_path, ds)
    assert case.plans == ()
    assert any("plan 'P50' was left out: it is an RT Ion Plan" in n and "unsupported" in n for n in case.notes)


def test_a_rejected_plan_is_read_and_says_so(tmp_path: Path) -> None:
    ds = d.plan()
    ds.ApprovalStatus = "REJECTED"
    case = case_with(tmp_path, ds)
    assert len(case.plans) == 1
    assert "plan 'P50' is marked as rejected" in case.notes


BOLUS = ("Bolus5", "BOLUS", d.closed(-1.5, 1.5, centre=(0.0, -8.0), half=4.0))


def passing_bolus(ds: Dataset, *beams: int) -> Dataset:
    for n in beams:
        beam(ds, n).NumberOfBoli = 1
        beam(ds, n).ReferencedBolusSequence = [item(ReferencedROINumber=4)]
    return ds


def test_a_bolus_of_all_beams_is_read(tmp_path: Path) -> None:
    case = case_with(tmp_path, passing_bolus(d.plan(), 0, 1), BOLUS)
    assert len(case.plans) == 1
    assert not any("bolus" in note.lower() for note in case.notes)


def test_a_bolus_of_some_beams_is_refused(tmp_path: Path) -> None:
    case = case_with(tmp_path, passing_bolus(d.plan(), 0), BOLUS)
    assert case.plans == ()
    assert any("beam 'B2' does not pass bolus 'Bolus5' as other beams do" in note for note in case.notes)


def test_a_bolus_that_no_beam_names_is_told(tmp_path: Path) -> None:
    case = case_with(tmp_path, d.plan(), BOLUS)
    assert len(case.plans) == 1
    assert any("no beam names bolus 'Bolus5', which is drawn" in note for note in case.notes)


def arc(start: float, stop: float, direction: str) -> Dataset:
    """One arc told by two control points, its leaves closing by 6 mm on the way."""
    ds = d.plan()
    del ds.BeamSequence[1], ds.FractionGroupSequence[0].ReferencedBeamSequence[1]
    points = beam(ds).ControlPointSequence
    points[1].BeamLimitingDevicePositionSequence = points[2].BeamLimitingDevicePositionSequence
    del points[2:]
    beam(ds).NumberOfControlPoints = 2
    points[0].GantryAngle, points[0].GantryRotationDirection = str(start), direction
    points[1].GantryAngle, points[1].CumulativeMetersetWeight = str(stop), "2"
    return ds


def read_arc(folder: Path, *told: object) -> Beam:
    (plan,) = case_with(folder, arc(*told)).plans  # type: ignore[arg-type]
    return plan.beams[0]


@pytest.mark.parametrize(
    ("start", "stop", "direction", "turn"),
    [(181, 179, "CW", 358), (179, 181, "CC", -358), (330, 50, "CW", 80), (50, 330, "CC", -80), (90, 240, "CW", 150)],
)
def test_an_arc_between_two_control_points_goes_the_way_that_is_told(
    tmp_path: Path, start: float, stop: float, direction: str, turn: float
) -> None:
    found = read_arc(tmp_path, start, stop, direction)
    points = found.control_points
    assert found.dynamic
    assert points[0].gantry_deg == start
    assert points[-1].gantry_deg == stop
    steps = [(b.gantry_deg - a.gantry_deg + 180) % 360 - 180 for a, b in pairwise(points)]
    assert sum(steps) == pytest.approx(turn)
    assert max(map(abs, steps)) <= 10.0
    # Everything moves evenly: MU, gantry and leaves in proportion.
    shares = np.array([p.mu for p in points]) / 120
    np.testing.assert_allclose(np.cumsum([0, *steps]) / turn, shares, atol=1e-12)
    leaves = np.array([p.leaves_mm for p in points])
    np.testing.assert_allclose(leaves, leaves[0] + shares[:, None, None] * (leaves[-1] - leaves[0]), atol=1e-12)


def test_rounding_against_the_direction_is_no_turn(tmp_path: Path) -> None:
    found = read_arc(tmp_path, 180.0, 179.9, "CW")
    assert len(found.control_points) == 2


def test_a_beam_of_two_control_points_takes_over_what_the_second_leaves_out(tmp_path: Path) -> None:
    ds = arc(30, 30, "NONE")
    for keyword in ("GantryAngle", "BeamLimitingDevicePositionSequence"):
        delattr(point(ds, 1), keyword)
    (plan,) = case_with(tmp_path, ds).plans
    first, last = plan.beams[0].control_points
    assert not plan.beams[0].dynamic
    assert (first.mu, last.mu) == (0, 120)
    assert (last.gantry_deg, last.couch_deg, last.jaws_x_mm) == (30, 350, first.jaws_x_mm)
    np.testing.assert_array_equal(first.leaves_mm, last.leaves_mm)
