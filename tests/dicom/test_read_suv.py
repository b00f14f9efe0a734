"""PET as SUV by body weight: closed forms, and every missing tag by its name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import dicom_cases as d
import functional_cases as f
import numpy as np
import pytest
from pydicom.dataset import Dataset

from tailort.dicom import read_functional
from tailort.errors import DicomError, InputError
from tailort.patient import FunctionalScan, quantity_named

FDG = quantity_named("fdg-suv")


def read(tmp_path: Path, slices: list[Dataset], **more) -> FunctionalScan:
    return read_functional(f.write(tmp_path / "pet", slices), FDG, **more)


def expected(minutes: float | None) -> np.ndarray:
    """SUV with a dose that has decayed for so long."""
    left = f.DOSE_BQ * (1.0 if minutes is None else np.exp(-np.log(2.0) * 60.0 * minutes / f.HALF_LIFE_S))
    return f.expected_activity() * f.WEIGHT_KG * 1000.0 / left


def test_images_corrected_to_the_start_use_the_dose_that_is_left_then(tmp_path: Path) -> None:
    made = read(tmp_path, f.pet_slices())
    assert made.scan.image.unit == "SUV"
    assert made.scan.image.values == pytest.approx(expected(60.0), rel=1e-5)
    assert made.date == dt.date(2026, 1, 1)
    assert made.facts["minutes of uptake"] == "60.0"
    assert "not converted" not in " ".join(made.notes)


def test_images_corrected_to_the_administration_use_the_whole_dose(tmp_path: Path) -> None:
    made = read(tmp_path, f.pet_slices(correction="ADMIN"))
    assert made.scan.image.values == pytest.approx(expected(None), rel=1e-5)


def test_scanner_reconstruction_and_uptake_time_are_told_as_far_as_the_files_tell_them(tmp_path: Path) -> None:
    slices = f.pet_slices(correction="ADMIN")
    for ds in slices:
        ds.Manufacturer, ds.ManufacturerModelName, ds.ReconstructionMethod = "Maker", "Model 1", "OSEM 3i"
    told = read(tmp_path / "a", slices).facts
    assert (told["scanner"], told["reconstruction"], told["minutes of uptake"]) == ("Maker Model 1", "OSEM 3i", "60.0")
    bare = f.pet_slices(correction="ADMIN")
    for ds in bare:
        del ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime
    told = read(tmp_path / "b", bare).facts
    assert not {"scanner", "reconstruction", "minutes of uptake"} & set(told)


def test_start_and_administration_differ_by_the_decay_between_them(tmp_path: Path) -> None:
    start = read(tmp_path / "a", f.pet_slices()).scan.image.values
    admin = read(tmp_path / "b", f.pet_slices(correction="ADMIN")).scan.image.values
    assert start / admin == pytest.approx(2.0 ** (3600.0 / f.HALF_LIFE_S), rel=1e-5)


def test_a_series_that_was_made_again_later_counts_from_its_earliest_acquisition(tmp_path: Path) -> None:
    made = read(tmp_path, f.pet_slices(start="153000", acquired="093000"))
    assert made.scan.image.values == pytest.approx(expected(90.0), rel=1e-5)
    assert any("after its acquisition" in note for note in made.notes)


def test_a_series_that_is_dated_before_its_first_bed_counts_from_its_own_time(tmp_path: Path) -> None:
    made = read(tmp_path, f.pet_slices(start="085500", acquired="090000"))
    assert made.scan.image.values == pytest.approx(expected(55.0), rel=1e-5)


def test_a_tracer_given_before_midnight_decays_over_midnight(tmp_path: Path) -> None:
    made = read(tmp_path, f.pet_slices(injected="233000", start="003000", acquired="003000"))
    assert made.scan.image.values == pytest.approx(expected(60.0), rel=1e-5)
    assert any("day before" in note for note in made.notes)


def test_a_whole_date_and_time_of_administration_wins_and_keeps_its_zone(tmp_path: Path) -> None:
    slices = f.pet_slices(injected="010101")
    for ds in slices:
        ds.TimezoneOffsetFromUTC = "+0800"
        ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime = "20260101003000.000+0000"
    made = read(tmp_path, slices)
    assert made.scan.image.values == pytest.approx(expected(30.0), rel=1e-5)


def _without(keyword: str) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        delattr(ds, keyword)

    return change


def _tracer_without(*keywords: str) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        for keyword in keywords:
            delattr(ds.RadiopharmaceuticalInformationSequence[0], keyword)

    return change


def _with(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds, keyword, value)


def _tracer_with(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds.RadiopharmaceuticalInformationSequence[0], keyword, value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_without("PatientWeight"), "no PatientWeight"),
        (_with("PatientWeight", None), "no PatientWeight"),
        (_tracer_without("RadionuclideTotalDose"), "no RadionuclideTotalDose"),
        (_tracer_without("RadionuclideHalfLife"), "no RadionuclideHalfLife"),
        (_tracer_without("RadiopharmaceuticalStartTime"), "neither RadiopharmaceuticalStartDateTime nor"),
        (_without("RadiopharmaceuticalInformationSequence"), "no RadiopharmaceuticalInformationSequence"),
        (_without("DecayCorrection"), "no DecayCorrection"),
        (_without("CorrectedImage"), "no CorrectedImage"),
        (_without("Units"), "no Units"),
        (_without("AcquisitionTime"), "no AcquisitionTime"),
        (_without("AcquisitionDate"), "no AcquisitionDate"),
        (_with("DecayCorrection", "NONE"), "DecayCorrection NONE; expected START or ADMIN"),
        (_with("CorrectedImage", ["ATTN"]), "not corrected for decay"),
        (_with("CorrectedImage", "DECY"), "not corrected for attenuation"),
        (_with("Units", "CNTS"), r"in CNTS \(Units\)"),
        (_with("Units", "GML"), r"in GML \(Units\)"),
        (_with("PatientWeight", "72000"), "expected kg"),
        (_tracer_with("RadionuclideTotalDose", "350"), "expected Bq"),
        (_tracer_with("RadionuclideHalfLife", "109.8"), "expected seconds"),
        (_tracer_with("RadiopharmaceuticalStartTime", "noon"), "is no time|no time"),
        (_tracer_with("RadiopharmaceuticalStartTime", "091000"), "lies after the start"),
        (_tracer_with("RadiopharmaceuticalStartDateTime", "20251230080000"), "half-lives"),
        (_tracer_with("Radiopharmaceutical", "FMISO"), "shows fmiso-tumour-to-blood and not fdg-suv"),
    ],
)
def test_what_is_missing_or_wrong_is_refused_by_its_name(
    tmp_path: Path, change: Callable[[Dataset], None], match: str
) -> None:
    slices = f.pet_slices()
    for ds in slices:
        change(ds)
    with pytest.raises(DicomError, match=match):
        read(tmp_path, slices)


def test_a_weight_that_differs_between_slices_is_refused(tmp_path: Path) -> None:
    slices = f.pet_slices()
    slices[3].PatientWeight = "80"
    with pytest.raises(DicomError, match=r"PatientWeight is 72.* and 80"):
        read(tmp_path, slices)


def test_a_tracer_without_a_name_is_taken_for_granted_and_told(tmp_path: Path) -> None:
    slices = f.pet_slices()
    for ds in slices:
        del ds.RadiopharmaceuticalInformationSequence[0].Radiopharmaceutical
    assert any("does not name its tracer" in note for note in read(tmp_path, slices).notes)


def test_frame_times_that_tell_of_another_reference_are_noted(tmp_path: Path) -> None:
    slices = f.pet_slices()
    for k, ds in enumerate(slices):
        # Frames of three minutes whose mean activity is in their middle, reckoned from ten minutes before the series.
        ds.ActualFrameDuration, ds.FrameReferenceTime = "180000", str(1000 * (600 + 180 * (k // 2) + 90))
    (note,) = [note for note in read(tmp_path, slices).notes if "Frame Reference" in note]
    assert "10.0 min earlier" in note
    assert f"{100 * (2 ** (-600 / f.HALF_LIFE_S) - 1):+.1f} %" in note


def test_a_folder_without_a_pet_says_what_it_has(tmp_path: Path) -> None:
    f.write(tmp_path / "ct", d.image_slices())
    with pytest.raises(DicomError, match="no PT series for fdg-suv; it has: CT"):
        read_functional(tmp_path / "ct", FDG)


def test_two_pet_series_ask_for_one(tmp_path: Path) -> None:
    folder = f.write(tmp_path / "pet", f.pet_slices(), "a")
    f.write(folder, f.pet_slices(series="1.2.3.61"), "b")
    with pytest.raises(DicomError, match="2 PT series"):
        read_functional(folder, FDG)
    assert read_functional(folder, FDG, series_uid="1.2.3.61").scan.series_uid == "1.2.3.61"


def test_the_ct_of_the_session_is_read_where_the_planning_ct_lies_elsewhere(tmp_path: Path) -> None:
    folder = f.write(tmp_path / "pet", f.pet_slices(), "pet")
    f.write(folder, d.image_slices(), "ct")
    here, there = (read_functional(folder, FDG, frame_of_reference=frame) for frame in (d.FRAME, d.OTHER_FRAME))
    assert here.companion is None
    assert there.companion is not None
    assert there.companion.modality == "CT"


@pytest.mark.parametrize(
    ("more", "told", "factor"),
    [
        ({"unit": "10^-6 mm2/s"}, None, 1e-6),
        ({"unit": "mm2/s", "mapping": ("um2/s", 1.0, 0.0)}, None, 1e-6),
        ({"mapping": ("mm2/s", 1e-6, 0.0)}, None, 1e-6),
        ({"mapping": ("10-6.mm2/s", 1.0, 0.0)}, None, 1e-6),
        ({}, "10^-6 mm2/s", 1e-6),
        ({"unit": "10^-6 mm2/s"}, "10-6 mm²/s", 1e-6),
    ],
)
def test_diffusion_is_read_in_the_unit_that_is_told(
    tmp_path: Path, more: dict, told: str | None, factor: float
) -> None:
    folder = f.write(tmp_path / "mr", f.diffusion_slices(**more))
    made = read_functional(folder, quantity_named("adc"), unit=told)
    assert made.scan.image.unit == "mm2/s"
    assert made.scan.image.values.min() == pytest.approx(800 * factor, rel=1e-5)
    assert made.scan.image.values.max() == pytest.approx((800 + 4 * (16 * 12 - 1)) * factor, rel=1e-5)


@pytest.mark.parametrize(
    ("more", "told", "match"),
    [
        ({}, None, "does not tell the unit"),
        ({"unit": "US"}, None, "does not tell the unit"),
        ({}, "s/mm2", "no unit of diffusion"),
        ({"mapping": ("Hz", 1.0, 0.0)}, None, "no unit of diffusion"),
        ({"unit": "10^-6 mm2/s"}, "mm2/s", "leave the unit out"),
        ({}, "mm2/s", "another unit is meant"),
    ],
)
def test_diffusion_in_an_unknown_unit_is_refused(tmp_path: Path, more: dict, told: str | None, match: str) -> None:
    folder = f.write(tmp_path / "mr", f.diffusion_slices(**more))
    with pytest.raises(DicomError, match=match):
        read_functional(folder, quantity_named("adc"), unit=told)


def test_an_unknown_quantity_names_those_that_are_known() -> None:
    with pytest.raises(InputError, match="known are fdg-suv"):
        quantity_named("suv")
