"""What a beam's-eye view shows: shadows of targets and organs, and the opening over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.geometry import PatientPosition
from tailort.geometry.contours import level_set
from tailort.geometry.raster import coverage
from tailort.optimisation.conformal import Aperture, Prisms
from tailort.patient import BeamSetup
from tailort.physics.machine import Machine

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BeamsEyeView:
    """One beam as its source sees it: polygons (n, 2) in the isocentre plane, mm.

    Axes are those of the beam limiting device (IEC 61217), so that jaws and leaves are upright; seen from the source x
    runs to the right when y runs up.

    Parameters
    ----------
    setup : BeamSetup
        The beam.
    openings : tuple of tuple of (n, 2) float
        Outline of each segment, piece by piece.
    shadows : mapping of str to tuple of (n, 2) float
        Outlines of the structures' shadows, holes turning the other way.
    """

    setup: BeamSetup
    openings: tuple[tuple[Float, ...], ...]
    shadows: Mapping[str, tuple[Float, ...]]


def shadow(
    prisms: Prisms,
    setup: BeamSetup,
    position: PatientPosition,
    source_axis_distance_mm: float,
    step_mm: float = 0.5,
) -> tuple[Float, ...]:
    """Outline of a structure as a beam sees it, for figures: polygons (n, 2), at most about `step_mm` too wide.

    Leaves are set by `conform`, which needs no lattice.
    """
    lower, upper = prisms.faces(setup, position, source_axis_distance_mm)
    following = prisms.following()
    # Every face of every prism, turned so that its area counts as positive; what they cover together is the shadow.
    faces = []
    for face in (lower, upper):
        edges = np.hstack([face, face[following]])
        first = 0
        for group in _groups(prisms):
            own = edges[first : first + group]
            turn = float((own[:, 0] * own[:, 3] - own[:, 2] * own[:, 1]).sum())
            faces.append(own if turn > 0 else own[:, [2, 3, 0, 1]])
            first += group
    sides = np.stack([lower, lower[following], upper[following], upper], axis=1)
    for a, b, c in ((0, 1, 2), (0, 2, 3)):
        triangle = sides[:, [a, b, c]]
        upright = _cross(triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0]) > 0
        triangle = np.where(upright[:, None, None], triangle, triangle[:, ::-1])
        faces += [np.hstack([triangle[:, n], triangle[:, (n + 1) % 3]]) for n in range(3)]
    edges = np.ascontiguousarray(np.concatenate(faces))
    low = np.minimum(edges[:, :2].min(axis=0), edges[:, 2:].min(axis=0)) - 2 * step_mm
    high = np.maximum(edges[:, :2].max(axis=0), edges[:, 2:].max(axis=0)) + 2 * step_mm
    ni, nj = (int(n) for n in np.ceil((high - low) / step_mm))
    covered = coverage(edges, float(low[0]), float(low[1]), step_mm, step_mm, nj, ni)
    x = low[0] + step_mm * (np.arange(ni) + 0.5)
    y = low[1] + step_mm * (np.arange(nj) + 0.5)
    return tuple(level_set(covered, x, y, 0.5, tolerance_mm=0.1 * step_mm, least_area_mm2=step_mm**2))


def _cross(a: Float, b: Float) -> Float:
    z: Float = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return z


def _groups(prisms: Prisms) -> list[int]:
    """Number of corners of each section: outer polygons and their holes are turned together."""
    sizes: list[int] = []
    before = None
    for ring, low in zip(prisms.rings, prisms.low_mm.tolist(), strict=True):
        if low == before:
            sizes[-1] += len(ring)
        else:
            sizes.append(len(ring))
        before = low
    return sizes


def beams_eye_views(
    apertures: Sequence[Aperture], structures: Sequence[Prisms], machine: Machine, position: PatientPosition
) -> tuple[BeamsEyeView, ...]:
    """Views of all beams, in the order of their numbers, with the openings of all their segments.

    Parameters
    ----------
    apertures : sequence of Aperture
        Of all beams.
    structures : sequence of Prisms
        Targets and organs to be shown.
    machine : Machine
        Leaf edges and source axis distance.
    position : str
        HFS, HFP, FFS or FFP.
    """
    by_number: dict[int, list[Aperture]] = {}
    for aperture in apertures:
        by_number.setdefault(aperture.setup.number, []).append(aperture)
    distance = machine.source_axis_distance_mm
    return tuple(
        BeamsEyeView(
            members[0].setup,
            tuple(member.outline(machine) for member in members),
            {s.name: shadow(s, members[0].setup, position, distance) for s in structures},
        )
        for _, members in sorted(by_number.items())
    )
