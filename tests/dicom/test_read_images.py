"""CT, MR and PET come in as the scanner meant them, whatever the order and the patient's position."""

from __future__ import annotations

import dicom_cases as d
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from tailort.dicom import read_case
from tailort.errors import DicomError


def in_every_part(grid):
    return grid.is_axial and np.allclose(grid.spacing_mm, d.SPACING) and np.allclose(grid.origin_mm, d.ORIGIN)


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
@pytest.mark.parametrize("signed", [False, True])
def test_every_patient_position_gives_the_same_axial_ct(tmp_path, position, signed):
    slices = d.image_slices(position, signed=signed, intercept=0 if signed else -1024)
    d.write(tmp_path, *slices)
    scan = read_case(tmp_path).ct
    assert scan.patient_position == position
    assert in_every_part(scan.image.grid)
    assert scan.image.values.dtype == np.int16
    np.testing.assert_array_equal(scan.image.values, d.expected_hu())
    # Slices were made from the head down, so the lowest is the last.
    assert scan.instance_uids == tuple(s.SOPInstanceUID for s in reversed(slices))
    assert scan.slice_thickness_mm == 5.0
    assert scan.image.grid.frame_of_reference == d.FRAME


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, DeflatedExplicitVRLittleEndian]
)
def test_transfer_syntaxes_do_not_change_the_voxels(tmp_path, syntax):
    for n, ds in enumerate(d.image_slices()):
        if syntax == RLELossless:
            ds.compress(RLELossless)
            ds.save_as(tmp_path / f"{n}", enforce_file_format=True)
            continue
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        ds.save_as(tmp_path / f"{n}", enforce_file_format=True)
    np.testing.assert_array_equal(read_case(tmp_path).ct.image.values, d.expected_hu())


def test_old_files_without_preamble_are_read(tmp_path):
    for n, ds in enumerate(d.image_slices()):
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        ds.save_as(tmp_path / f"{n}", enforce_file_format=True)
        data = (tmp_path / f"{n}").read_bytes()
        (tmp_path / f"{n}").write_bytes(data[data.index(b"\x08\x00\x08\x00") :])
    np.testing.assert_array_equal(read_case(tmp_path).ct.image.values, d.expected_hu())


def test_bits_above_the_stored_ones_do_not_count(tmp_path):
    slices = d.image_slices()
    for ds in slices:
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") | 0xA000).astype("<u2").tobytes()
    d.write(tmp_path, *slices)
    np.testing.assert_array_equal(read_case(tmp_path).ct.image.values, d.expected_hu())


def test_a_fractional_rescale_gives_float_hu(tmp_path):
    slices = d.image_slices()
    for ds in slices:
        ds.RescaleSlope = "0.5"
    d.write(tmp_path, *slices)
    image = read_case(tmp_path).ct.image
    assert image.values.dtype == np.float32
    np.testing.assert_allclose(image.values, (d.expected_hu() + 1024) * 0.5 - 1024)


def test_padding_is_read_as_air(tmp_path):
    slices = d.image_slices(signed=True, intercept=-1024)
    for ds in slices:
        ds.PixelPaddingValue = -2000
        ds["PixelPaddingValue"].VR = "SS"
        stored = np.frombuffer(ds.PixelData, "<i2").copy()
        stored[0] = -2000
        ds.PixelData = stored.tobytes()
    d.write(tmp_path, *slices)
    case = read_case(tmp_path)
    assert (case.ct.image.values[:, 0, 0] == -1000).all()
    assert any("8 padding voxels" in note for note in case.notes)


def enhanced_ct():
    """One multi-frame object with frames in a mixed order."""
    slices = d.image_slices()
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    ds = d.base("1.2.840.10008.5.1.4.1.1.2.1", "1.2.3.200", "CT", d.CT_SERIES)
    first = slices[0]
    for keyword in (
        "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
        "PixelRepresentation", "PatientPosition",
    ):  # fmt: skip
        setattr(ds, keyword, first.get(keyword))
    ds.NumberOfFrames = len(slices)
    measures, orientation, rescale, shared = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, "5"
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = "1", "-1024", "HU"
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    shared.PixelValueTransformationSequence = [rescale]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = []
    for n in order:
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = slices[n].ImagePositionPatient
        frame.PlanePositionSequence = [position]
        ds.PerFrameFunctionalGroupsSequence.append(frame)
    ds.PixelData = b"".join(slices[n].PixelData for n in order)
    ds["PixelData"].VR = "OW"
    return ds


def test_a_multi_frame_ct_is_the_same_ct(tmp_path):
    d.write(tmp_path, enhanced_ct())
    scan = read_case(tmp_path).ct
    np.testing.assert_array_equal(scan.image.values, d.expected_hu())
    assert in_every_part(scan.image.grid)
    assert scan.instance_uids == ("1.2.3.200",)


def test_mr_and_pet_become_further_scans(tmp_path):
    mr = d.image_slices(sop_class=d.MR, modality="MR", series="1.2.3.11", intercept=-1024, uid_root="1.2.3.300")
    for ds in mr:
        del ds.RescaleSlope, ds.RescaleIntercept
    pet = d.image_slices(
        sop_class=d.PT, modality="PT", series="1.2.3.12", intercept=0, signed=True, uid_root="1.2.3.400"
    )
    for n, ds in enumerate(pet):
        ds.Units, ds.RescaleSlope = "BQML", f"{0.5 + n}"
    d.write(tmp_path, *d.image_slices(), *mr, *pet)
    case = read_case(tmp_path)
    assert [s.modality for s in case.scans] == ["CT", "MR", "PT"]
    assert [s.image.unit for s in case.scans] == ["HU", "1", "Bq/ml"]
    np.testing.assert_allclose(case.scans[1].image.values, d.expected_hu() + 1024)
    slopes = (0.5 + np.arange(8))[::-1, None, None]
    np.testing.assert_allclose(case.scans[2].image.values, d.expected_hu() * slopes, rtol=1e-6)
    assert any("not converted to SUV" in note for note in case.notes)


def test_a_sagittal_mr_keeps_its_own_planes(tmp_path):
    mr = d.image_slices(
        sop_class=d.MR, modality="MR", series="1.2.3.11", orientation=(0, 1, 0, 0, 0, -1), uid_root="1.2.3.300"
    )
    for n, ds in enumerate(mr):
        ds.ImagePositionPatient = [f"{n * 4 - 10}", "-20", "30"]
    d.write(tmp_path, *d.image_slices(), *mr)
    grid = read_case(tmp_path).scans[1].image.grid
    assert not grid.is_axial
    # The normal of rows to the back and columns to the feet points to the patient's right.
    np.testing.assert_allclose(grid.to_world((0, 0, 0)), (18, -20, 30))
    np.testing.assert_allclose(grid.to_world((1, 0, 0)), (14, -20, 30))
    np.testing.assert_allclose(grid.to_world((0, 1, 0)), (18, -20, 28))
    np.testing.assert_allclose(grid.to_world((0, 0, 1)), (18, -17.5, 30))


def test_an_mr_that_is_no_stack_is_left_out_with_the_reason(tmp_path):
    mr = d.image_slices(sop_class=d.MR, modality="MR", series="1.2.3.11", uid_root="1.2.3.300")[:1]
    d.write(tmp_path, *d.image_slices(), *mr)
    case = read_case(tmp_path)
    assert len(case.scans) == 1
    assert any("left out" in note and "one slice" in note for note in case.notes)


def test_other_files_are_skipped_and_counted(tmp_path):
    d.write(tmp_path, *d.image_slices())
    (tmp_path / "notes.txt").write_text("a list of nothing")
    (tmp_path / "deep" / "picture.png").write_bytes(b"\x89PNG" + bytes(500))
    (tmp_path / "empty").write_bytes(b"")
    scout = d.image_slices(series="1.2.3.13", uid_root="1.2.3.500")[0]
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    d.write(tmp_path, scout, start=90)
    case = read_case(tmp_path)
    assert "3 file(s) that are not DICOM were skipped" in case.notes
    assert any("scout image" in note for note in case.notes)
    assert len(case.scans) == 1


def test_progress_ends_at_one(tmp_path):
    d.write(tmp_path, *d.image_slices())
    seen = []
    read_case(tmp_path, progress=lambda what, share: seen.append((what, share)))
    assert seen[-1][1] == 1.0
    assert all(0 < share <= 1 for _, share in seen)


def refusal(folder, **kwargs):
    with pytest.raises(DicomError) as caught:
        read_case(folder, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_missing_folder_is_named(tmp_path):
    assert f"folder '{tmp_path / 'none'}' does not exist" in refusal(tmp_path / "none")


def test_a_file_instead_of_a_folder_is_refused(tmp_path):
    (tmp_path / "x").write_text("x")
    assert "is a file" in refusal(tmp_path / "x")


def test_a_folder_without_ct_says_what_is_there(tmp_path):
    d.write(tmp_path, d.structure_set([("Heart", "ORGAN", d.closed(0.0))]), d.plan())
    text = refusal(tmp_path)
    assert "no CT series" in text
    assert "1 x RT Structure Set Storage" in text
    assert "1 x RT Plan Storage" in text


def test_an_empty_folder_has_no_ct(tmp_path):
    assert "no DICOM file" in refusal(tmp_path)


def test_two_ct_series_are_listed_with_the_way_to_choose(tmp_path):
    second = d.image_slices(series="1.2.3.99", uid_root="1.2.3.600")[:5]
    for ds in second:
        ds.SeriesDescription = "follow-up"
    d.write(tmp_path, *d.image_slices(), *second)
    text = refusal(tmp_path)
    assert "2 CT series" in text
    assert f"{d.CT_SERIES} 'CT test' with 8 slice(s)" in text
    assert "1.2.3.99 'follow-up' with 5 slice(s)" in text
    assert "--series UID" in text
    case = read_case(tmp_path, series_uid="1.2.3.99")
    assert case.ct.series_uid == "1.2.3.99"
    assert case.ct.image.grid.shape[0] == 5
    assert "1.2.3.77" in refusal(tmp_path, series_uid="1.2.3.77")


def test_a_missing_slice_is_located(tmp_path):
    slices = d.image_slices()
    lost = slices.pop(3)
    d.write(tmp_path, *slices)
    text = refusal(tmp_path)
    assert "1 slice(s) missing" in text
    assert f"z = {float(lost.ImagePositionPatient[2]):.2f} mm" in text


def test_unequal_slice_distances_are_refused(tmp_path):
    slices = d.image_slices()
    for ds in slices[:3]:
        ds.ImagePositionPatient[2] = float(ds.ImagePositionPatient[2]) + 1
    d.write(tmp_path, *slices)
    assert "unequal slice distances: 4.000 mm" in refusal(tmp_path)


def test_a_doubled_slice_is_named(tmp_path):
    slices = d.image_slices()
    double = d.image_slices(uid_root="1.2.3.700")[2]
    d.write(tmp_path, *slices, double)
    text = refusal(tmp_path)
    assert f"two slices at z = {float(double.ImagePositionPatient[2]):.2f} mm" in text


def test_one_slice_is_no_volume(tmp_path):
    d.write(tmp_path, d.image_slices()[0])
    assert "one slice" in refusal(tmp_path)


def tilted(by_deg, as_scanned):
    slices = d.image_slices()
    c, s = np.cos(np.deg2rad(by_deg)), np.sin(np.deg2rad(by_deg))
    for ds in slices:
        ds.ImageOrientationPatient = ["1", "0", "0", "0", f"{c:.10f}", f"{s:.10f}"]
        if not as_scanned:
            z = float(ds.ImagePositionPatient[2])
            ds.ImagePositionPatient = ["-13.75", f"{-15 - s * z:.6f}", f"{c * z:.6f}"]
    return slices


@pytest.mark.parametrize("as_scanned", [True, False])
def test_a_tilted_gantry_is_refused_by_its_geometry(tmp_path, as_scanned):
    d.write(tmp_path, *tilted(12, as_scanned))
    assert "tilted gantry" in refusal(tmp_path)


def test_a_tilted_gantry_is_refused_by_its_tag(tmp_path):
    slices = d.image_slices()
    for ds in slices:
        ds.GantryDetectorTilt = "-10"
    d.write(tmp_path, *slices)
    assert "tilted by -10 degrees" in refusal(tmp_path)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_truncated_ct_file_is_named(tmp_path, keep):
    d.write(tmp_path, *d.image_slices())
    victim = sorted(tmp_path.glob("CT*.dcm"))[2]
    data = victim.read_bytes()
    victim.write_bytes(data[: int(len(data) * keep)])
    text = refusal(tmp_path)
    assert "truncated" in text
    assert victim.name in text


@pytest.mark.parametrize("cut", [100, 140, 400])
def test_a_file_cut_in_its_header_is_named(tmp_path, cut):
    d.write(tmp_path, *d.image_slices())
    victim = sorted(tmp_path.glob("CT*.dcm"))[0]
    victim.write_bytes(victim.read_bytes()[:cut])
    text = refusal(tmp_path)
    assert victim.name in text
    assert "truncated" in text


def test_fewer_pixels_than_rows_and_columns_are_refused(tmp_path):
    slices = d.image_slices()
    slices[4].PixelData = slices[4].PixelData[:-20]
    d.write(tmp_path, *slices)
    assert "need 384 bytes, 364 are there" in refusal(tmp_path)


def test_an_undecodable_compression_is_named(tmp_path):
    slices = d.image_slices()
    for ds in slices:
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
        from pydicom.encaps import encapsulate

        ds.PixelData = encapsulate([b"\x00" * 64])
        ds["PixelData"].VR = "OB"
    d.write(tmp_path, *slices)
    assert "MPEG2" in refusal(tmp_path)


def test_monochrome1_is_refused(tmp_path):
    slices = d.image_slices()
    for ds in slices:
        ds.PhotometricInterpretation = "MONOCHROME1"
    d.write(tmp_path, *slices)
    assert "MONOCHROME1" in refusal(tmp_path)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "PixelSpacing", "FrameOfReferenceUID", "PatientPosition"])
def test_what_hu_and_place_need_has_no_default(tmp_path, keyword):
    slices = d.image_slices()
    for ds in slices:
        delattr(ds, keyword)
    d.write(tmp_path, *slices)
    assert f"no {keyword}" in refusal(tmp_path)


def test_two_patients_are_refused(tmp_path):
    stranger = d.structure_set([("Heart", "ORGAN", d.closed(0.0))])
    stranger.PatientID = "P2"
    d.write(tmp_path, *d.image_slices(), stranger)
    text = refusal(tmp_path)
    assert "two patients" in text
    assert "'P1'" in text
    assert "'P2'" in text
