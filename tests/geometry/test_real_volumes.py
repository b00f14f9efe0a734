"""Volumes of two published cases, read straight from their RTSTRUCT files."""

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pydicom
import pytest

from tailort.geometry import Grid, check_contours, partial_volume, volume_cm3

DATA = Path(__file__).parents[3] / "shared" / "data"

CASES = {
    "TG119": ("truth.json", 0.005, Grid.axial((129, 167, 167), (2.5, 3, 3), (-250, -250, -160), "1")),
    "OPENKBP": (
        "reference.json",
        0.01,
        Grid.axial((115, 128, 128), (3, 3.906, 3.906), (-248.031, -368.031, -310), "1"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_volumes_of_a_published_case_are_those_of_its_reference(case: str) -> None:
    folder = DATA / case
    if not folder.is_dir():
        pytest.skip(f"the published case {case} is not in {DATA}")
    reference, tolerance, grid = CASES[case]
    expected = json.loads((folder / reference).read_text())["structures"]
    with ZipFile(folder / f"{case}_dicom.zip") as archive:
        name = next(n for n in archive.namelist() if n.endswith("RS.dcm"))
        with archive.open(name) as file:
            data = pydicom.dcmread(file)
    names = {roi.ROINumber: roi.ROIName for roi in data.StructureSetROISequence}
    for roi in data.ROIContourSequence:
        structure = names[roi.ReferencedROINumber]
        contours = [np.array(c.ContourData, dtype=float).reshape(-1, 3) for c in roi.ContourSequence]
        check_contours(contours, structure)
        volume = expected[structure]["volume_cc"]
        assert volume_cm3(contours) == pytest.approx(volume, rel=tolerance), structure
        assert partial_volume(contours, grid).volume_cm3(grid) == pytest.approx(volume, rel=tolerance), structure
