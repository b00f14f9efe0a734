"""Where the beams come from, and which beamlets they need to cover a target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import GeometryError, InputError
from tailort.geometry import PatientPosition, beam_axes
from tailort.patient import Beamlets, BeamSetup, Structure
from tailort.physics.machine import Machine

Float = NDArray[np.float64]
_FINE_MM = 1.0


def equispaced(n_beams: int, first_deg: float = 0.0) -> tuple[float, ...]:
    """Gantry angles at equal distances round the patient, IEC 61217 degrees.

    With an odd number no two beams oppose each other, so each adds a new direction.
    """
    if n_beams < 1:
        raise InputError(f"a plan needs at least one beam; found {n_beams}")
    return tuple((first_deg + 360.0 * n / n_beams) % 360.0 for n in range(n_beams))


def arrange(
    gantry_deg: Sequence[float],
    isocentre_mm: Sequence[float],
    collimator_deg: float = 0.0,
    couch_deg: float = 0.0,
) -> tuple[BeamSetup, ...]:
    """Static coplanar beams to one isocentre.

    Parameters
    ----------
    gantry_deg : sequence of float
        IEC 61217, one for each beam: `equispaced(9)`, or a class solution.
    isocentre_mm : (3,) float
        LPS mm.
    collimator_deg, couch_deg : float
        IEC 61217, of all beams.
    """
    angles = [float(g) % 360.0 for g in gantry_deg]
    if not angles:
        raise InputError("a plan needs at least one beam; the list of gantry angles is empty")
    if len(set(angles)) != len(angles):
        raise InputError(f"two beams have the same gantry angle: {sorted(angles)}")
    x, y, z = (float(c) for c in isocentre_mm)
    return tuple(
        BeamSetup(f"{n} G{angle:05.1f}", n, (x, y, z), angle, collimator_deg, couch_deg)
        for n, angle in enumerate(angles, start=1)
    )


def isocentre(target: Structure) -> tuple[float, float, float]:
    """Middle of a target's extent, rounded to whole millimetres, LPS mm."""
    low, high = target.bounds_mm()
    x, y, z = (float(c) for c in np.round((low + high) / 2))
    return x, y, z


def beamlets_covering(
    setups: Sequence[BeamSetup],
    contours: Sequence[Float],
    machine: Machine,
    position: PatientPosition,
    margin_mm: float,
    width_mm: float = 5.0,
) -> Beamlets:
    """Beamlets that cover a target's projection with a margin, seen from the source of each beam.

    The lattice follows the leaf edges across the leaves and multiples of the width along them; in each row every
    beamlet between the first and the last is there, so that a leaf pair never opens over one that has no dose.

    Parameters
    ----------
    setups : sequence of BeamSetup
        The beams.
    contours : sequence of (n, 3) float
        Closed planar polygons of the target, or of several targets together, LPS mm; not farther apart than
        twice the margin.
    machine : Machine
        Leaf edges, source axis distance and reach.
    position : str
        HFS, HFP, FFS or FFP.
    margin_mm : float
        In the isocentre plane, for penumbra; at least half the slice distance.
    width_mm : float
        Of a beamlet, in both directions; divides every leaf width.
    """
    edges = np.asarray(machine.leaf_boundaries_mm, dtype=np.float64)
    per_leaf = np.diff(edges) / width_mm
    if np.abs(per_leaf - np.round(per_leaf)).max() > 1e-6:
        raise InputError(f"beamlets of {width_mm:g} mm do not divide the leaf widths of machine '{machine.id}'")
    if not contours:
        raise GeometryError("there is no target contour for beamlets to cover")
    rows = round(float(edges[-1] - edges[0]) / width_mm)
    y_mm = edges[0] + width_mm * (np.arange(rows) + 0.5)
    leaf_of_row = np.searchsorted(edges, y_mm, side="right") - 1
    solid = np.concatenate([_filled(np.asarray(contour, dtype=np.float64)) for contour in contours])
    beam: list[int] = []
    x_of: list[Float] = []
    y_of: list[Float] = []
    for number, setup in enumerate(setups):
        axes = beam_axes(setup.gantry_deg, setup.collimator_deg, setup.couch_deg, position)
        along = (solid - np.asarray(setup.isocentre_mm)) @ axes.T
        scale = machine.source_axis_distance_mm / (machine.source_axis_distance_mm - along[:, 2])
        spans = _row_spans(along[:, 0] * scale, along[:, 1] * scale, y_mm, leaf_of_row, width_mm, margin_mm)
        if spans is None:
            raise GeometryError(
                f"the target does not fit beam '{setup.name}': the leaves reach from {edges[0]:g} to {edges[-1]:g} mm "
                "across; move the isocentre or turn the collimator"
            )
        for row, first, last in spans:
            low, high = first * width_mm, (last + 1) * width_mm
            if low < machine.leaf_reach_mm[0] or high > machine.leaf_reach_mm[1]:
                raise GeometryError(
                    f"the target does not fit beam '{setup.name}': it reaches from {low:g} to {high:g} mm, the leaves "
                    f"from {machine.leaf_reach_mm[0]:g} to {machine.leaf_reach_mm[1]:g} mm; move the isocentre"
                )
            x = width_mm * (np.arange(first, last + 1) + 0.5)
            beam += [number] * len(x)
            x_of.append(x.astype(np.float64))
            y_of.append(np.full(len(x), y_mm[row]))
    return Beamlets(
        np.array(beam, dtype=np.int32), np.concatenate(x_of), np.concatenate(y_of), width_mm, width_mm, tuple(setups)
    )


def _filled(contour: Float) -> Float:
    """Points about every 2 mm on a polygon and between it and its middle, LPS mm."""
    closed = np.concatenate([contour, contour[:1]])
    length = np.linalg.norm(np.diff(closed, axis=0), axis=1)
    pieces = [
        start + (end - start) * np.linspace(0, 1, max(1, int(np.ceil(side / 2.0))), endpoint=False)[:, None]
        for start, end, side in zip(closed[:-1], closed[1:], length, strict=True)
    ]
    outline = np.concatenate(pieces)
    middle = outline.mean(axis=0)
    radius = float(np.linalg.norm(outline - middle, axis=1).max())
    shares = np.linspace(0, 1, int(np.ceil(radius / 2.0)) + 1)
    points: Float = middle + shares[:, None, None] * (outline - middle)
    return points.reshape(-1, 3)


def _row_spans(
    u: Float, v: Float, y_mm: Float, leaf_of_row: NDArray[np.int64], width_mm: float, margin_mm: float
) -> list[tuple[int, int, int]] | None:
    """Row, first and last column of what comes within the margin of the points; None when the leaves do not reach.

    The rows of one leaf share their columns.
    """
    pad = margin_mm + width_mm + 2 * _FINE_MM
    low_u = np.floor((u.min() - pad) / width_mm) * width_mm
    low_v = np.floor((v.min() - pad) / width_mm) * width_mm
    shape = (int((v.max() + pad - low_v) / _FINE_MM) + 2, int((u.max() + pad - low_u) / _FINE_MM) + 2)
    seen = np.zeros(shape, dtype=bool)
    seen[((v - low_v) / _FINE_MM).astype(int), ((u - low_u) / _FINE_MM).astype(int)] = True
    near = ndimage.distance_transform_edt(~seen, sampling=_FINE_MM) <= margin_mm
    rows, columns = np.nonzero(near)
    row = np.floor((low_v + (rows + 0.5) * _FINE_MM - (y_mm[0] - width_mm / 2)) / width_mm).astype(int)
    column = np.floor((low_u + (columns + 0.5) * _FINE_MM) / width_mm).astype(int)
    if row.min() < 0 or row.max() >= len(y_mm):
        return None
    leaf = leaf_of_row[row]
    return [
        (int(r), int(column[leaf == leaf_of_row[r]].min()), int(column[leaf == leaf_of_row[r]].max()))
        for r in np.flatnonzero(np.isin(leaf_of_row, leaf))
    ]
