"""What the linac is told: beams, apertures and monitor units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.geometry import PatientPosition
from tailort.patient.prescription import Prescription

Pair = tuple[float, float]


@dataclass(frozen=True)
class BeamSetup:
    """Where one static beam comes from.

    Angles are IEC 61217 degrees, the isocentre x, y, z is LPS mm.
    """

    name: str
    number: int
    isocentre_mm: tuple[float, float, float]
    gantry_deg: float
    collimator_deg: float = 0.0
    couch_deg: float = 0.0


@dataclass(frozen=True, eq=False)
class ControlPoint:
    """The machine at one moment of a beam.

    Parameters
    ----------
    mu : float
        Monitor units of one fraction delivered up to here.
    gantry_deg, collimator_deg, couch_deg : float
        IEC 61217, degrees.
    jaws_x_mm, jaws_y_mm : (2,) float
        Positions at the isocentre, IEC 61217 beam limiting device axes, mm.
    leaves_mm : (2, n) float or None
        x of the leaf ends of bank X1 (row 0) and X2 (row 1), leaf by leaf along y, mm; None without MLC.
    """

    mu: float
    gantry_deg: float
    collimator_deg: float
    couch_deg: float
    jaws_x_mm: Pair
    jaws_y_mm: Pair
    leaves_mm: NDArray[np.float64] | None

    def __post_init__(self) -> None:
        if self.leaves_mm is not None:
            leaves = np.array(self.leaves_mm, dtype=np.float64)
            if leaves.ndim != 2 or leaves.shape[0] != 2:
                raise InputError("leaf positions must be given as two rows, bank X1 and bank X2")
            if (leaves[0] > leaves[1] + 1e-6).any():
                raise InputError(f"leaf pair {int(np.argmax(leaves[0] - leaves[1])) + 1} overlaps its partner")
            leaves.setflags(write=False)
            object.__setattr__(self, "leaves_mm", leaves)


@dataclass(frozen=True, eq=False)
class Beam:
    """One beam of a plan as control points.

    Parameters
    ----------
    name, number : str, int
        As shown on the console.
    machine : str
        Machine id.
    energy_mv : float
        Nominal energy, MV.
    flattened : bool
        False for a flattening-filter-free beam.
    isocentre_mm : (3,) float
        LPS mm.
    leaf_boundaries_mm : (n + 1,) float
        y of the leaf edges at the isocentre, mm; empty without MLC.
    control_points : tuple of ControlPoint
        In order of delivery; the first has 0 MU.
    dynamic : bool
        Whether leaves or gantry move with the beam on (False: step and shoot or static).
    source_axis_distance_mm : float
        mm.
    """

    name: str
    number: int
    machine: str
    energy_mv: float
    flattened: bool
    isocentre_mm: tuple[float, float, float]
    leaf_boundaries_mm: tuple[float, ...]
    control_points: tuple[ControlPoint, ...]
    dynamic: bool = False
    source_axis_distance_mm: float = 1000.0

    def __post_init__(self) -> None:
        mus = [cp.mu for cp in self.control_points]
        if len(mus) < 2 or abs(mus[0]) > 1e-9 or any(b < a - 1e-9 for a, b in pairwise(mus)):
            raise InputError(f"beam '{self.name}' needs control points whose MU start at 0 and never fall")
        pairs = max(0, len(self.leaf_boundaries_mm) - 1)
        for cp in self.control_points:
            if cp.leaves_mm is not None and cp.leaves_mm.shape[1] != pairs:
                raise InputError(f"beam '{self.name}' has {pairs} leaf pairs, a control point {cp.leaves_mm.shape[1]}")

    @property
    def mu(self) -> float:
        """Monitor units of one fraction."""
        return self.control_points[-1].mu

    @property
    def setup(self) -> BeamSetup:
        """Where the beam starts from."""
        first = self.control_points[0]
        return BeamSetup(
            self.name, self.number, self.isocentre_mm, first.gantry_deg, first.collimator_deg, first.couch_deg
        )

    def segments(self) -> Iterator[tuple[float, ControlPoint]]:
        """Yield the MU and the aperture of each step of a step-and-shoot or static beam."""
        for before, after in pairwise(self.control_points):
            if after.mu - before.mu > 1e-9:
                yield after.mu - before.mu, before


@dataclass(frozen=True, eq=False)
class Plan:
    """A deliverable plan: beams, their control points and MU, and what they are for.

    Parameters
    ----------
    label : str
        At most 16 characters go into DICOM.
    beams : tuple of Beam
        In order of delivery.
    prescriptions : tuple of Prescription
        All with the same number of fractions.
    fractions : int
        Number of fractions of the plan.
    patient_position : str
        HFS, HFP, FFS or FFP.
    frame_of_reference : str
        DICOM Frame of Reference UID.
    sop_instance_uid : str
        Of the RTPLAN it came from; empty when made here.
    """

    label: str
    beams: tuple[Beam, ...]
    prescriptions: tuple[Prescription, ...]
    fractions: int
    patient_position: PatientPosition
    frame_of_reference: str
    sop_instance_uid: str = ""
    intent: Literal["CURATIVE", "PALLIATIVE", "RESEARCH", ""] = "RESEARCH"

    def __post_init__(self) -> None:
        if self.fractions < 1:
            raise InputError(f"plan '{self.label}' has {self.fractions} fractions; at least 1 is needed")
        for prescription in self.prescriptions:
            if prescription.fractions != self.fractions:
                raise InputError(
                    f"plan '{self.label}' has {self.fractions} fractions, its prescription of "
                    f"'{prescription.target}' {prescription.fractions}"
                )

    @property
    def mu(self) -> float:
        """Monitor units of one fraction over all beams."""
        return sum(beam.mu for beam in self.beams)
