"""Images of what tissue does: named quantities, such an image as it was scanned, and on the planning CT's grid."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tailort.errors import InputError
from tailort.geometry import Image
from tailort.patient.case import Scan

Sought = Literal["high", "low"]


@dataclass(frozen=True)
class Quantity:
    """What an image of function shows, by name.

    Parameters
    ----------
    id : str
        Name on the command line, such as "fdg-suv".
    text : str
        In words.
    unit : str
        Of its image.
    modality : {"PT", "MR"}
        Which kind of images show it.
    shows : str
        What of the tumour it stands for: metabolism, hypoxia, proliferation, cell density.
    sought : {"high", "low"}
        Where a sub-volume lies that is to get more dose.
    high, low : str
        What a high and a low value means.
    source : str
        Rule of the reference, or paper.
    mark : str
        How sure that is: "lit-recalled", "standard".
    short : str
        In the name of a sub-volume, such as "FDG".
    reference : str
        Tissue by whose mean it is divided; empty for none.
    tracer : tuple of str
        Parts of the names under which scanners know the tracer, in small letters.
    """

    id: str
    text: str
    unit: str
    modality: Literal["PT", "MR"]
    shows: str
    sought: Sought
    high: str
    low: str
    source: str
    mark: str
    short: str
    reference: str = ""
    tracer: tuple[str, ...] = ()


QUANTITIES: Mapping[str, Quantity] = {
    one.id: one
    for one in (
        Quantity(
            "fdg-suv", "SUV by body weight of F-18 FDG", "SUV", "PT", "metabolism", "high",
            "much glucose is taken up: living tumour, and inflammation as well", "little is taken up",
            "RB-140, RB-148", "lit-recalled", "FDG", tracer=("fdg", "deoxyglucose", "deoxy-glucose"),
        ),
        Quantity(
            "flt-suv", "SUV by body weight of F-18 FLT", "SUV", "PT", "proliferation", "high",
            "cells make DNA", "few cells divide",
            "Shields et al., Nat Med 1998;4:1334, doi:10.1038/3337", "lit-recalled", "FLT",
            tracer=("flt", "thymidine"),
        ),
        Quantity(
            "fmiso-tumour-to-blood", "uptake of F-18 FMISO over that of blood", "1", "PT", "hypoxia", "high",
            "little oxygen", "enough oxygen, or no blood that brings the tracer",
            "RB-146", "lit-recalled", "MISO", "blood", ("miso", "misonidazole"),
        ),
        Quantity(
            "cu-atsm-tumour-to-muscle", "uptake of Cu-ATSM over that of muscle", "1", "PT", "hypoxia", "high",
            "little oxygen", "enough oxygen, or no blood that brings the tracer",
            "RB-146", "lit-recalled", "ATSM", "muscle", ("atsm",),
        ),
        Quantity(
            "adc", "apparent diffusion coefficient of water", "mm2/s", "MR", "cell density", "low",
            "water moves freely: few cells, necrosis, oedema", "water is hindered: many cells",
            "RB-146", "lit-recalled", "ADC",
        ),
    )
}  # fmt: skip
"""Quantities by name."""


def quantity_named(name: str) -> Quantity:
    """Return a quantity by its name.

    Raises
    ------
    InputError
        Naming those that are known.
    """
    if name not in QUANTITIES:
        raise InputError(f"unknown functional quantity '{name}'; known are {', '.join(QUANTITIES)}")
    return QUANTITIES[name]


@dataclass(frozen=True, eq=False)
class FunctionalScan:
    """An image of function as it was read, in its own frame of reference.

    Parameters
    ----------
    quantity : Quantity
        What it is to show.
    scan : Scan
        Values in SUV of a PET, also where the quantity is a ratio that needs a reference tissue, or in mm2/s.
    date : date
        Day of acquisition.
    patient_id : str
        Of the files.
    source : str
        Series, and how its values came about, for people.
    facts : dict of str
        What the values were worked out from, by name, with units.
    companion : Scan or None
        CT of the same session and frame of reference, which registers better than the image itself.
    notes : tuple of str
        What was noticed while reading.
    """

    quantity: Quantity
    scan: Scan
    date: dt.date
    patient_id: str
    source: str
    facts: Mapping[str, str] = field(default_factory=dict)
    companion: Scan | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unit = "SUV" if self.quantity.modality == "PT" else self.quantity.unit
        if self.scan.modality != self.quantity.modality or self.scan.image.unit != unit:
            raise InputError(
                f"{self.quantity.id} is read from a {self.quantity.modality} in {unit}; found a {self.scan.modality} "
                f"in {self.scan.image.unit}"
            )


@dataclass(frozen=True, eq=False)
class FunctionalImage:
    """An image of function in the planning CT's frame of reference.

    Parameters
    ----------
    quantity : Quantity
        What it shows.
    image : Image
        Values in the quantity's unit; not a number where the scan does not reach.
    date : date
        Day of acquisition.
    source : str
        Series and how its values came about, for people.
    noise : Image or None
        Estimate of the standard deviation of the noise of single voxels of the scan, in the quantity's unit, on the
        same grid; noise that is alike over more than 12 mm is not seen in it. None is unknown.
    own_spacing_mm : (3,) float
        Distance of the scan's own voxels along (k, j, i), mm.
    registered : str
        How it was brought onto the planning CT, for people.
    uncertainty_mm : float or None
        Standard deviation of where a point lies, mm; None is unknown.
    days_before_ct : int or None
        From the image to the planning CT, below 0 when it was made after it; None is unknown.
    facts : dict of str
        What the values were worked out from.
    notes : tuple of str
        What a reader must know of it.
    """

    quantity: Quantity
    image: Image
    date: dt.date
    source: str
    noise: Image | None = None
    own_spacing_mm: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    registered: str = ""
    uncertainty_mm: float | None = None
    days_before_ct: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.image.unit != self.quantity.unit:
            raise InputError(
                f"{self.quantity.id} is in {self.quantity.unit}; found an image in {self.image.unit}, which would "
                "have to be converted first"
            )
        if self.noise is not None and not self.noise.grid.same_as(self.image.grid):
            raise InputError("the noise of a functional image must lie on the grid of the image")
        if self.uncertainty_mm is not None and not self.uncertainty_mm >= 0:
            raise InputError(f"the uncertainty of a place is 0 mm or more; found {self.uncertainty_mm:g} mm")
