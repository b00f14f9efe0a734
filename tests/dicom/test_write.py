"""What is written is conformant, refers to the right objects, and reads back as the same records."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from tailort.dicom import new_uid, read_case, write_ct, write_dose, write_plan, write_structures
from tailort.dicom.writing import decimal
from tailort.errors import DicomError, GeometryError, InputError, OutputError
from tailort.geometry import Grid, Image
from tailort.patient import (
    Beam,
    ControlPoint,
    Dose,
    Normalisation,
    Person,
    Plan,
    Point,
    Prescription,
    Scan,
    Structure,
    StructureSet,
)  # fmt: skip

FRAME = "1.2.826.0.1.9"
WHEN = dt.datetime(2026, 11, 20, 12, 30, 45)
PERSON = Person("P-7", "Doe^Jané", "19510203", "F", "S1", "20260102", "101112", "A1", "Dr^House")
POSITIONS = ("HFS", "HFP", "FFS", "FFP")


def make_scan(position="HFS", frame=FRAME):
    grid = Grid.axial((6, 10, 8), (2.5, 1.1, 0.9765625), (-3.90625, -101.3, 12.34), frame)
    values = np.arange(grid.size, dtype=np.int16).reshape(grid.shape) * 3 - 1000
    return Scan(
        image=Image(grid, values, "HU"),
        modality="CT",
        series_uid="1.2.826.0.1.3",
        study_uid="1.2.826.0.1.2",
        instance_uids=tuple(f"1.2.826.0.1.4.{k}" for k in range(6)),
        patient_position=position,
        description="planning",
        slice_thickness_mm=2.5,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    )


def ring(z, radius, centre, n=40):
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.column_stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), np.full(n, z)])


def make_structures():
    zs = 12.34 + 2.5 * np.arange(1, 5)
    centre = (-0.5, -96.2)
    return StructureSet(
        (
            Structure("External", "EXTERNAL", tuple(ring(z, 3.5, centre) for z in zs), FRAME, colour=(0, 255, 0)),
            Structure(
                "PTV_6600", "PTV", tuple(ring(z, 2.0, centre) for z in zs[1:3]), FRAME,
                made_by=("union of GTVp and GTVn", "margin 5 mm"), colour=(255, 0, 0),
            ),
            Structure("PTV_5400", "PTV", (ring(zs[1], 3.0, centre), ring(zs[1], 1.0, centre)), FRAME, colour=(1, 2, 3)),
            Structure("note", "OTHER", (ring(zs[1], 1.5, centre),), FRAME, colour=(9, 9, 9)),
            Structure("IGTV", "ITV", (ring(zs[2], 1.5, centre),), FRAME, colour=(9, 9, 9)),
        ),
        FRAME,
        label="TailoRT",
    )  # fmt: skip


BOUNDARIES = tuple(float(y) for y in range(-20, 25, 5))


def aperture(mu, gantry, shift, *, collimator=5.0, couch=0.0):
    leaves = np.array([np.full(8, -10.123456789 + shift), np.full(8, 10.0 + shift)])
    return ControlPoint(mu, gantry, collimator, couch, (-12.0 + shift, 12.0 + shift), (-20.0, 20.0), leaves)


def make_plan(position="HFS", *, flattened=True):
    iso = (-0.5, -96.25, 18.59)
    step = Beam(
        "1 G0", 1, "generic-6", 6.0, flattened, iso, BOUNDARIES,
        (aperture(0, 0.0, 0), aperture(33.3333333, 0.0, 0), aperture(33.3333333, 0.0, 2), aperture(101.7, 0.0, 2)),
    )  # fmt: skip
    arc = Beam(
        "2 arc", 2, "generic-6", 6.0, flattened, iso, BOUNDARIES,
        tuple(aperture(10.0 * n, (350 + 7.0 * n) % 360, 0.5 * n, couch=10.0) for n in range(5)), dynamic=True,
    )  # fmt: skip
    open_field = Beam(
        "3 open", 3, "generic-6", 6.0, flattened, iso, (),
        tuple(ControlPoint(mu, 90.0, 0.0, 0.0, (-5.0, 5.0), (-6.0, 6.0), None) for mu in (0.0, 50.0)),
    )  # fmt: skip
    return Plan(
        "SMART 66/54", (step, arc, open_field),
        (
            Prescription("PTV_6600", 66.0, 30, Normalisation("coverage", metric="D95%[Gy]")),
            Prescription("PTV_5400", 54.0, 30, Normalisation("point", point_mm=(-0.5, -96.25, 18.5))),
        ),
        30, position, FRAME,
    )  # fmt: skip


def make_dose(plan_uid="", per="course"):
    grid = Grid.axial((4, 5, 6), (2.5, 2.0, 1.7), (-3.0, -100.0, 13.0), FRAME)
    values = np.random.default_rng(5).uniform(0, 70, grid.shape).astype(np.float32)
    return Dose(
        Image(grid, values, "Gy"), "physical", per, 30, None, "pencil kernel, not for judging plans in lung", plan_uid
    )


def write_all(folder, position="HFS", seed="seed", plan=None, dose=None):
    scan = make_scan(position)
    write_ct(scan, PERSON, folder, body_part="CHEST", when=WHEN)
    structures = write_structures(make_structures(), scan, PERSON, folder / "rtstruct.dcm", seed=seed, when=WHEN)
    plan = write_plan(
        plan or make_plan(position), structures, PERSON, scan, folder / "rtplan.dcm", seed=seed, when=WHEN
    )
    write_dose(
        dose or make_dose(), PERSON, scan, folder / "rtdose.dcm",
        plan_uids=[plan.sop_instance_uid], seed=seed, when=WHEN,
    )  # fmt: skip
    return scan, structures, plan


def same_points(mine, theirs, tolerance):
    return len(mine) == len(theirs) and all(
        a.leaves_mm is b.leaves_mm is None or np.allclose(a.leaves_mm, b.leaves_mm, rtol=0, atol=tolerance)
        for a, b in zip(mine, theirs, strict=True)
    ) and np.allclose(
        [(a.mu, a.gantry_deg, a.collimator_deg, a.couch_deg, *a.jaws_x_mm, *a.jaws_y_mm) for a in mine],
        [(b.mu, b.gantry_deg, b.collimator_deg, b.couch_deg, *b.jaws_x_mm, *b.jaws_y_mm) for b in theirs],
        rtol=0, atol=tolerance,
    )  # fmt: skip


@pytest.mark.parametrize("position", POSITIONS)
def test_written_records_read_back_the_same(tmp_path, position):
    scan, structures, plan = write_all(tmp_path, position)
    case = read_case(tmp_path)
    assert case.notes == ()
    assert case.person == PERSON
    assert case.ct.image.grid.same_as(scan.image.grid)
    np.testing.assert_array_equal(case.ct.image.values, scan.image.values)
    assert case.ct.image.values.dtype == np.int16
    for name in ("instance_uids", "series_uid", "study_uid", "patient_position", "description", "slice_thickness_mm"):
        assert getattr(case.ct, name) == getattr(scan, name)

    assert case.structures.sop_instance_uid == structures.sop_instance_uid
    assert case.structures.series_uid == scan.series_uid
    assert case.structures.label == structures.label
    for read, written in zip(case.structures, structures, strict=True):
        assert (read.name, read.role, read.colour) == (written.name, written.role, written.colour)
        assert len(read.contours) == len(written.contours)
        for a, b in zip(read.contours, written.contours, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)

    (read,) = case.plans
    assert read.sop_instance_uid == plan.sop_instance_uid
    assert (read.label, read.fractions, read.patient_position, read.intent) == ("SMART 66/54", 30, position, "RESEARCH")
    assert read.prescriptions == plan.prescriptions
    for mine, theirs in zip(read.beams, plan.beams, strict=True):
        for name in (
            "name", "number", "machine", "energy_mv", "flattened", "isocentre_mm", "leaf_boundaries_mm", "dynamic",
            "source_axis_distance_mm",
        ):  # fmt: skip
            assert getattr(mine, name) == getattr(theirs, name)
        assert same_points(mine.control_points, theirs.control_points, 1e-7)

    (dose,) = case.doses
    expected = make_dose()
    assert dose.image.grid.same_as(expected.image.grid)
    np.testing.assert_allclose(dose.image.values, expected.image.values, rtol=0, atol=1e-5)
    assert (dose.quantity, dose.per, dose.fractions, dose.engine) == ("physical", "course", 30, expected.engine)
    assert dose.plan_uid == plan.sop_instance_uid


@given(
    st.sampled_from(POSITIONS),
    st.tuples(st.integers(2, 5), st.integers(2, 6), st.integers(2, 6)),
    st.tuples(*[st.floats(0.5, 8)] * 3),
    st.tuples(*[st.floats(-900, 900)] * 3),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=25)
def test_any_grid_comes_back_in_its_place(position, shape, spacing, origin, seed):
    grid = Grid.axial(shape, spacing, origin, FRAME)
    rng = np.random.default_rng(seed)
    hu = rng.integers(-1024, 3072, shape).astype(np.int16)
    scan = replace(
        make_scan(position),
        image=Image(grid, hu, "HU"),
        instance_uids=tuple(f"1.2.826.0.1.4.{k}" for k in range(shape[0])),
    )
    gray = rng.uniform(0, 80, shape).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_ct(scan, PERSON, folder)
        write_dose(replace(make_dose("1.2.3"), image=Image(grid, gray, "Gy")), PERSON, scan, folder / "rd.dcm")
        case = read_case(folder)
    for image, values in ((case.ct.image, hu), (case.doses[0].image, gray)):
        assert image.grid.shape == shape
        np.testing.assert_allclose(image.grid.affine, grid.affine, rtol=0, atol=1e-6)
        np.testing.assert_allclose(image.values, values, rtol=0, atol=1e-5)


def test_unflattened_beams_stay_unflattened(tmp_path):
    write_all(tmp_path, plan=make_plan(flattened=False))
    assert not any(beam.flattened for beam in read_case(tmp_path).plans[0].beams)


def test_steps_without_doubled_control_points_are_written_as_steps(tmp_path):
    beam = Beam(
        "1", 1, "m", 6.0, True, (0.0, -96.0, 18.0), BOUNDARIES,
        (aperture(0, 0.0, 0), aperture(30, 0.0, 1), aperture(50, 0.0, 2)),
    )  # fmt: skip
    write_all(tmp_path, plan=replace(make_plan(), beams=(beam,)))
    (read,) = read_case(tmp_path).plans[0].beams
    assert not read.dynamic
    segments = [(mu, point.leaves_mm[1, 0]) for mu, point in read.segments()]
    np.testing.assert_allclose(segments, [(30, 10), (20, 11)])


def test_a_dose_per_fraction_is_written_as_the_course(tmp_path):
    write_all(tmp_path, dose=make_dose(per="fraction"))
    (dose,) = read_case(tmp_path).doses
    np.testing.assert_allclose(dose.image.values, make_dose().image.values * 30.0, rtol=1e-6)


@pytest.mark.parametrize("bits", [16, 32])
def test_dose_is_rounded_to_half_a_step(tmp_path, bits):
    dose = make_dose("1.2.3")
    write_dose(dose, PERSON, make_scan(), tmp_path / "d.dcm", bits=bits)
    ds = pydicom.dcmread(tmp_path / "d.dcm")
    stored = np.frombuffer(ds.PixelData, f"<u{bits // 8}").reshape(dose.image.grid.shape)
    step = float(ds.DoseGridScaling)
    assert np.abs(stored * step - dose.image.values).max() <= 0.5001 * step
    assert stored.max() > 0.99 * 2**bits


def test_a_dose_of_zero_can_be_written(tmp_path):
    dose = make_dose("1.2.3")
    empty = replace(dose, image=dose.image.with_values(np.zeros(dose.image.grid.shape, np.float32)))
    write_dose(empty, PERSON, make_scan(), tmp_path / "d.dcm")
    assert not np.frombuffer(pydicom.dcmread(tmp_path / "d.dcm").PixelData, "<u4").any()


def test_references_lead_from_dose_to_plan_to_structures_to_ct(tmp_path):
    scan, _, plan = write_all(tmp_path)
    rs, rp, rd = (pydicom.dcmread(tmp_path / f"{n}.dcm") for n in ("rtstruct", "rtplan", "rtdose"))
    assert rd.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == rp.SOPInstanceUID == plan.sop_instance_uid
    assert rp.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == rs.SOPInstanceUID
    on = rs.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert on.SeriesInstanceUID == scan.series_uid
    assert tuple(item.ReferencedSOPInstanceUID for item in on.ContourImageSequence) == scan.instance_uids
    contour = rs.ROIContourSequence[1].ContourSequence[0]
    assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID == scan.instance_uids[2]
    assert rp.DoseReferenceSequence[0].ReferencedROINumber == 2
    assert rs.StructureSetROISequence[1].ROIDescription == "union of GTVp and GTVn; margin 5 mm"
    assert {ds.FrameOfReferenceUID for ds in (rs, rp, rd)} == {FRAME}
    assert {ds.StudyInstanceUID for ds in (rs, rp, rd)} == {scan.study_uid}
    assert rs.ApprovalStatus == rp.ApprovalStatus == "UNAPPROVED"
    assert "research use" in rd.DoseComment
    assert "research use" in rp.RTPlanDescription


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        write_all(tmp_path / name, seed="other" if name == "c" else "one")
    for file in ("rtstruct.dcm", "rtplan.dcm", "rtdose.dcm", "CT.0001.dcm"):
        a, b = ((tmp_path / name / file).read_bytes() for name in "ab")
        assert a == b
    uids = [pydicom.dcmread(tmp_path / n / "rtplan.dcm").SOPInstanceUID for n in "ac"]
    assert uids[0] != uids[1]


def test_uids_are_valid_and_fresh_without_a_seed():
    assert pydicom.uid.UID(new_uid(None)).is_valid
    assert new_uid(None) != new_uid(None)
    assert new_uid("a", "b") == new_uid("a", "b") != new_uid("a", "c")


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30))
def test_decimal_strings_fit_and_keep_nine_digits(value):
    text = decimal(value)
    assert len(text) <= 16
    assert float(text) == pytest.approx(value, rel=1e-8, abs=1e-300)


@given(st.floats(min_value=-1e6, max_value=1e6), st.integers(0, 6))
def test_decimal_strings_of_fixed_places_are_rounded(value, places):
    text = decimal(value, places)
    assert len(text) <= 16
    assert abs(float(text) - value) <= 0.5000001 * 10.0**-places
    assert text != "-0"


def test_nothing_that_is_not_a_number_is_written():
    with pytest.raises(InputError, match="finite"):
        decimal(float("nan"))


def test_long_texts_are_cut_to_their_value_representation(tmp_path):
    long = replace(make_plan(), label="A plan whose label is longer than sixteen characters")
    write_all(tmp_path, plan=long)
    ds = pydicom.dcmread(tmp_path / "rtplan.dcm")
    assert ds.RTPlanLabel == "A plan whose lab"
    assert ds.RTPlanName == long.label


def test_a_contour_of_many_points_is_written_whole(tmp_path):
    scan = make_scan()
    many = Structure("External", "EXTERNAL", (ring(17.34, 3.5, (-0.5, -96.2), 20000),), FRAME)
    write_ct(scan, PERSON, tmp_path)
    write_structures(StructureSet((many,), FRAME), scan, PERSON, tmp_path / "rs.dcm")
    (read,) = read_case(tmp_path).structures
    assert len(read.contours[0]) == 20000


def test_a_landmark_that_is_a_point_comes_back_from_the_file(tmp_path):
    scan, point = make_scan(), Point("Carina", (17.25, 3.5, -96.2), FRAME)
    write_ct(scan, PERSON, tmp_path)
    with_point = replace(make_structures(), points=(point,))
    write_structures(with_point, scan, PERSON, tmp_path / "rs.dcm")
    read = read_case(tmp_path).structures
    assert read.points == (point,)
    assert read.names == with_point.names


def test_a_plan_needs_a_written_structure_set(tmp_path):
    with pytest.raises(DicomError, match="write the structure set first"):
        write_plan(make_plan(), make_structures(), PERSON, make_scan(), tmp_path / "p.dcm")


@pytest.mark.parametrize(("manufacturer", "phase"), [("TailoRT", 2), ("Another", 1)])
def test_the_phase_of_a_plan_is_read_from_our_own_files_only(tmp_path, manufacturer, phase):
    scan = make_scan()
    write_ct(scan, PERSON, tmp_path)
    structures = write_structures(make_structures(), scan, PERSON, tmp_path / "s.dcm")
    second = replace(make_plan(), prescriptions=tuple(replace(p, phase=2) for p in make_plan().prescriptions))
    write_plan(second, structures, PERSON, scan, tmp_path / "p.dcm")
    ds = dcmread(tmp_path / "p.dcm")
    ds.Manufacturer = manufacturer
    ds.save_as(tmp_path / "p.dcm")
    (read,) = read_case(tmp_path).plans
    assert [p.phase for p in read.prescriptions] == [phase, phase]


def test_a_prescription_needs_its_target(tmp_path):
    scan = make_scan()
    structures = write_structures(make_structures(), scan, PERSON, tmp_path / "s.dcm")
    lost = replace(
        make_plan(), prescriptions=(Prescription("PTV_1", 1.0, 30, Normalisation("coverage", metric="D95%[Gy]")),)
    )
    with pytest.raises(DicomError, match=r"'PTV_1'.*External, PTV_6600"):
        write_plan(lost, structures, PERSON, scan, tmp_path / "p.dcm")


def test_a_dose_needs_a_plan(tmp_path):
    with pytest.raises(DicomError, match="name its plan"):
        write_dose(make_dose(), PERSON, make_scan(), tmp_path / "d.dcm")


def test_negative_dose_is_refused(tmp_path):
    dose = make_dose("1.2.3")
    with pytest.raises(InputError, match="negative"):
        write_dose(
            replace(dose, image=dose.image.with_values(dose.image.values - 50)), PERSON, make_scan(), tmp_path / "d.dcm"
        )


def test_structures_of_another_frame_are_refused(tmp_path):
    with pytest.raises(GeometryError, match="frame of reference"):
        write_structures(make_structures(), make_scan(frame="1.2.9"), PERSON, tmp_path / "s.dcm")


def test_fractional_hu_are_refused(tmp_path):
    scan = make_scan()
    half = replace(scan, image=scan.image.with_values(scan.image.values + 0.5))
    with pytest.raises(InputError, match="whole HU"):
        write_ct(half, PERSON, tmp_path)


def test_an_unwritable_place_is_named(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_ct(make_scan(), PERSON, tmp_path / "none")


def dciodvfy(path):
    """Lines of the judge that are errors."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    ran = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False)
    text = ran.stdout + ran.stderr
    assert ran.returncode >= 0, f"dciodvfy itself stopped: {text[-300:]}"
    return [line for line in text.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("position", POSITIONS)
def test_dciodvfy_finds_no_error_in_a_written_case(tmp_path, position):
    scan, _, plan = write_all(tmp_path, position)
    # The judge of Debian 12 stops on 32-bit doses: it gets a copy of 16 bits.
    write_dose(make_dose(), PERSON, scan, tmp_path / "rtdose.dcm", plan_uids=[plan.sop_instance_uid], bits=16)
    files = sorted(tmp_path.glob("*.dcm"))
    assert len(files) == 9
    assert {file.name: dciodvfy(file) for file in files if dciodvfy(file)} == {}


def test_dciodvfy_finds_no_error_in_sums_biological_doses_and_unflattened_beams(tmp_path):
    scan, _, _ = write_all(tmp_path, plan=make_plan(flattened=False))
    write_dose(make_dose(), PERSON, scan, tmp_path / "sum.dcm", plan_uids=["1.2.3", "1.2.4"], bits=16)
    eqd2 = replace(make_dose(), quantity="EQD2", alpha_beta_gy=3.0)
    write_dose(eqd2, PERSON, scan, tmp_path / "eqd2.dcm", plan_uids=["1.2.3"], bits=16)
    assert [dciodvfy(tmp_path / name) for name in ("rtplan.dcm", "sum.dcm", "eqd2.dcm")] == [[], [], []]
    assert pydicom.dcmread(tmp_path / "sum.dcm").DoseSummationType == "MULTI_PLAN"
    assert pydicom.dcmread(tmp_path / "eqd2.dcm").DoseType == "EFFECTIVE"


def test_dciodvfy_finds_no_error_without_any_personal_data(tmp_path):
    scan = make_scan()
    nobody = Person("X")
    write_ct(scan, nobody, tmp_path)
    structures = write_structures(make_structures(), scan, nobody, tmp_path / "rs.dcm")
    write_plan(replace(make_plan(), prescriptions=(), intent=""), structures, nobody, scan, tmp_path / "rp.dcm")
    files = sorted(tmp_path.glob("*.dcm"))
    assert {file.name: dciodvfy(file) for file in files if dciodvfy(file)} == {}
