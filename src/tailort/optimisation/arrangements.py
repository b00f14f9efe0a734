"""Which choice of angles of a beam arrangement avoids an organ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tailort.errors import InputError
from tailort.geometry import PatientPosition
from tailort.optimisation.conformal import ApertureMargin, Prisms, overlap_mm2
from tailort.patient import BeamSetup
from tailort.patient.arrangements import Arrangement, setups_of

# Areas that differ by less are the same overlap, mm2.
SAME_AREA_MM2 = 1.0


@dataclass(frozen=True)
class Arranged:
    """The beams of an arrangement for one patient.

    Parameters
    ----------
    setups : tuple of BeamSetup
        In the order of the arrangement.
    overlap_mm2 : float or None
        Area of all fields together that the avoided organ covers; None when none was to be avoided.
    """

    setups: tuple[BeamSetup, ...]
    overlap_mm2: float | None


def arranged(
    chosen: Arrangement,
    isocentre_mm: Sequence[float],
    position: PatientPosition,
    collimator_deg: float = 0.0,
    first_number: int = 1,
    *,
    targets: Sequence[Prisms] = (),
    avoid: Prisms | None = None,
    margin: ApertureMargin | None = None,
    avoid_margin: ApertureMargin | None = None,
    source_axis_distance_mm: float = 1000.0,
) -> Arranged:
    """Beams of an arrangement; with an organ to avoid, from the angles whose fields the organ overlaps least.

    Of equal angles the first one is taken, so an arrangement with one choice is that choice.

    Parameters
    ----------
    chosen : Arrangement
        From `arrangement`.
    isocentre_mm : (3,) float
        LPS mm.
    position : str
        HFS, HFP, FFS or FFP.
    collimator_deg : float
        IEC 61217, of all beams.
    first_number : int
        Number of the first beam.
    targets, margin
        What the fields will be conformal to, as for `conform`; needed with `avoid`.
    avoid, avoid_margin
        The organ to avoid and the distance to keep from it.
    source_axis_distance_mm : float
        mm.
    """
    ways = [setups_of(choice, isocentre_mm, position, collimator_deg, first_number) for choice in chosen.choices_deg]
    if avoid is None:
        return Arranged(ways[0], None)
    if not targets or margin is None or avoid_margin is None:
        raise InputError(f"to keep beams off '{avoid.name}', give the targets and the margins of both")
    best, least = ways[0], float("inf")
    for setups in ways:
        area = sum(
            overlap_mm2(setup, targets, avoid, position, source_axis_distance_mm, margin, avoid_margin)
            for setup in setups
        )
        if area < least - SAME_AREA_MM2:
            best, least = setups, area
    return Arranged(best, least)
