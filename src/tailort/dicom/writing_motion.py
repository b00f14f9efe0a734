"""What was made of the phases of a 4D-CT, as CT series and one structure set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydicom.uid import CTImageStorage

from tailort.dicom.writing import new_uid
from tailort.dicom.writing_images import write_ct
from tailort.dicom.writing_structures import write_structures
from tailort.geometry import Image
from tailort.patient import Person, Scan, Structure, StructureSet

_DESCRIPTIONS = {"average": "4D-CT average", "mip": "4D-CT MIP, no density", "minimum": "4D-CT minimum, no density"}


def write_motion(
    images: Mapping[str, Image], internal: Sequence[Structure], phase: Scan, person: Person, folder: Path
) -> None:
    """Write a CT series a folder for each image, and `rtstruct.dcm` on the average where there is a structure.

    Parameters
    ----------
    images : mapping of str to Image
        "average", "mip" and "minimum", whole HU, on the grid of the phases.
    internal : sequence of Structure
        In the frame of reference of the phases.
    phase : Scan
        One of them: study, position and slice thickness are its own.
    person : Person
        The patient.
    folder : Path
        Existing folder.
    """
    for kind, image in images.items():
        below = folder / kind
        below.mkdir()
        uids = tuple(new_uid(None) for _ in range(image.grid.shape[0]))
        scan = replace(
            phase, image=image, series_uid=new_uid(None), instance_uids=uids, description=_DESCRIPTIONS[kind],
            sop_class_uid=CTImageStorage,
        )  # fmt: skip
        write_ct(scan, person, below)
        if kind == "average" and internal:
            drawn = StructureSet(tuple(internal), image.grid.frame_of_reference, "motion", series_uid=scan.series_uid)
            write_structures(drawn, scan, person, folder / "rtstruct.dcm")
