"""A scan of a phantom as a DICOM series whose UIDs are the same for the same phantom."""

from __future__ import annotations

import hashlib
import uuid

from tailort.geometry import Image
from tailort.patient import Scan

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
PET_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.128"


def uid(made_from: str, what: str) -> str:
    """UID of the form that DICOM derives from a UUID (PS3.5, B.2), the same for the same words."""
    digest = hashlib.sha256(f"tailort/{made_from}/{what}".encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def scan_of(
    image: Image, made_from: str, description: str, modality: str = "CT", sop_class_uid: str = CT_IMAGE_STORAGE
) -> Scan:
    """Series of a phantom that lies head first supine.

    Parameters
    ----------
    image : Image
        CT numbers in HU, the signal of an MR, or Bq/ml.
    made_from : str
        Everything that the phantom was made from: the series of two phantoms are never taken for one.
    description : str
        Of the series.
    modality, sop_class_uid : str
        What the series is.
    """
    return Scan(
        image=image,
        modality=modality,
        series_uid=uid(made_from, f"{modality} series"),
        study_uid=uid(made_from, "study"),
        instance_uids=tuple(uid(made_from, f"{modality} slice {k}") for k in range(image.grid.shape[0])),
        patient_position="HFS",
        description=description,
        slice_thickness_mm=image.grid.spacing_mm[0],
        sop_class_uid=sop_class_uid,
    )
