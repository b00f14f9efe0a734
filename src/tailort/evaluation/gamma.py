"""Gamma: how far a dose is from a reference, in dose and in distance at once.

For each reference point r the smallest over all places e of the evaluated dose of

    sqrt( |e - r|^2 / distance^2 + (D_e - D_r)^2 / difference^2 )

At most 1 agrees. Between voxels both doses are linear. Places are tried on a lattice of a fifth of the distance,
nearest first, until none farther away can be better; then about the best one, and about
the point itself, on ever finer lattices.

References
----------
Low et al. 1998, Med Phys 25:656, doi:10.1118/1.598248.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, InputError
from tailort.geometry import Image
from tailort.patient.dose import Dose

Float = NDArray[np.float64]

# The lattice's part of the distance, and how often it is halved about the best place.
PARTS, REFINEMENTS = 5, 4


@dataclass(frozen=True)
class GammaCriterion:
    """When two doses agree.

    Parameters
    ----------
    difference_percent : float
        Of the largest reference dose (global) or of the reference dose of the point (local).
    distance_mm : float
    local : bool
    threshold_percent : float
        Points with less than this share of the largest reference dose are left out.
    most : float
        Larger gammas are this one.
    """

    difference_percent: float
    distance_mm: float
    local: bool = False
    threshold_percent: float = 10.0
    most: float = 2.0

    def __post_init__(self) -> None:
        if self.difference_percent <= 0 or self.distance_mm <= 0 or self.most <= 1 or self.threshold_percent < 0:
            raise InputError("gamma needs a dose difference and a distance above 0, and a largest value above 1")

    @property
    def label(self) -> str:
        """As physicists write it: 3 %/2 mm global."""
        return f"{self.difference_percent:g} %/{self.distance_mm:g} mm {'local' if self.local else 'global'}"


STANDARD = tuple(GammaCriterion(percent, 2.0, local) for percent in (3.0, 2.0) for local in (False, True))


@dataclass(frozen=True, eq=False)
class Gamma:
    """Gamma of each reference voxel.

    Parameters
    ----------
    criterion : GammaCriterion
    image : Image
        On the reference's grid, without unit; not a number where the reference is below the threshold.
    """

    criterion: GammaCriterion
    image: Image

    @property
    def points(self) -> int:
        """Number of judged voxels."""
        return int(np.isfinite(self.image.values).sum())

    @property
    def pass_percent(self) -> float:
        """Share of the judged voxels whose gamma is at most 1, per cent; 100 when there is none."""
        values = self.image.values[np.isfinite(self.image.values)]
        return 100.0 * float(np.mean(values <= 1.0)) if values.size else 100.0

    @property
    def mean(self) -> float:
        """Mean gamma of the judged voxels."""
        values = self.image.values[np.isfinite(self.image.values)]
        return float(values.mean()) if values.size else 0.0


def gamma(reference: Dose, evaluated: Dose, criterion: GammaCriterion) -> Gamma:
    """Compare a dose with a reference.

    Parameters
    ----------
    reference, evaluated : Dose
        Of one quantity; their grids may differ, both along the patient's axes.
    criterion : GammaCriterion

    Raises
    ------
    InputError
        When the doses are not of one quantity.
    GeometryError
        When frames of reference differ, a grid is oblique, or there is no dose.
    """
    if (reference.quantity, reference.per, reference.alpha_beta_gy) != (
        evaluated.quantity,
        evaluated.per,
        evaluated.alpha_beta_gy,
    ):
        raise InputError(
            f"gamma compares doses of one quantity; found {reference.label} per {reference.per} and {evaluated.label} "
            f"per {evaluated.per}"
        )
    on, seen = reference.image.grid, evaluated.image.grid
    on.require_same_frame(seen.frame_of_reference, "the evaluated dose")
    seen.require_axial("gamma")
    on.require_axial("gamma")
    values = np.ascontiguousarray(reference.image.values, dtype=np.float32)
    top = float(values.max(initial=0.0))
    if top <= 0:
        raise GeometryError("the reference dose is 0 everywhere; gamma needs a dose to compare with")
    offsets_mm = _lattice(criterion.distance_mm / PARTS, criterion.most * criterion.distance_mm)
    spacing = np.array(seen.spacing_mm)
    out = np.full(values.shape, np.nan, dtype=np.float32)
    first = seen.to_index(on.to_world(np.zeros((1, 3))))[0]
    step = np.array(on.spacing_mm) / spacing
    _search(
        values,
        np.ascontiguousarray(evaluated.image.values, dtype=np.float32),
        first,
        step,
        offsets_mm / spacing,
        np.sum(offsets_mm**2, axis=1) / criterion.distance_mm**2,
        criterion.distance_mm / PARTS / spacing,
        spacing / criterion.distance_mm,
        criterion.difference_percent / 100 * (1.0 if criterion.local else top),
        criterion.local,
        criterion.threshold_percent / 100 * top,
        criterion.most,
        out,
    )
    return Gamma(criterion, Image(on, out, "1"))


def _lattice(step_mm: float, reach_mm: float) -> Float:
    """Offsets (n, 3) k, j, i in mm within a sphere, nearest first."""
    n = int(np.ceil(reach_mm / step_mm))
    axis = np.arange(-n, n + 1) * step_mm
    places = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    squared = np.sum(places**2, axis=1)
    inside = squared <= reach_mm**2 * (1 + 1e-9)
    kept: Float = places[inside][np.argsort(squared[inside], kind="stable")]
    return kept


@numba.njit(cache=True, inline="always")
def _at(dose: NDArray[np.float32], k: float, j: float, i: float) -> float:  # pragma: no cover - compiled
    """Trilinear dose at a fractional index; not a number outside the voxels' centres."""
    nk, nj, ni = dose.shape
    if k < 0.0 or j < 0.0 or i < 0.0 or k > nk - 1.0 or j > nj - 1.0 or i > ni - 1.0:
        return np.nan
    k0, j0, i0 = min(int(k), max(nk - 2, 0)), min(int(j), max(nj - 2, 0)), min(int(i), max(ni - 2, 0))
    k1, j1, i1 = min(k0 + 1, nk - 1), min(j0 + 1, nj - 1), min(i0 + 1, ni - 1)
    fk, fj, fi = k - k0, j - j0, i - i0
    a = dose[k0, j0, i0] + fi * (dose[k0, j0, i1] - dose[k0, j0, i0])
    b = dose[k0, j1, i0] + fi * (dose[k0, j1, i1] - dose[k0, j1, i0])
    c = dose[k1, j0, i0] + fi * (dose[k1, j0, i1] - dose[k1, j0, i0])
    d = dose[k1, j1, i0] + fi * (dose[k1, j1, i1] - dose[k1, j1, i0])
    near, far = a + fj * (b - a), c + fj * (d - c)
    return near + fk * (far - near)  # type: ignore[no-any-return]


@numba.njit(cache=True, parallel=True)
def _search(
    reference: NDArray[np.float32],
    evaluated: NDArray[np.float32],
    first: Float,
    step: Float,
    offsets: Float,
    squared: Float,
    finest: Float,
    per_distance: Float,
    difference: float,
    local: bool,
    threshold: float,
    most: float,
    out: NDArray[np.float32],
) -> None:  # pragma: no cover - compiled
    planes, rows, columns = reference.shape
    for line in numba.prange(planes * rows):
        k, j = line // rows, line % rows
        for i in range(columns):
            wanted = reference[k, j, i]
            if wanted < threshold or wanted <= 0.0:
                continue
            scale = 1.0 / (difference * wanted if local else difference)
            k0, j0, i0 = first[0] + k * step[0], first[1] + j * step[1], first[2] + i * step[2]
            best = most * most
            bk, bj, bi = 0.0, 0.0, 0.0
            for n in range(squared.size):
                if squared[n] >= best:
                    break
                found = _at(evaluated, k0 + offsets[n, 0], j0 + offsets[n, 1], i0 + offsets[n, 2])
                # Not a number is never smaller.
                value = squared[n] + ((found - wanted) * scale) ** 2
                if value < best:
                    best = value
                    bk, bj, bi = offsets[n, 0], offsets[n, 1], offsets[n, 2]
            # Once about the best place of the lattice, once about the point itself: a nearer place may lie between.
            for start in range(2):
                if best <= 1e-8 or best >= most * most:
                    break
                near = best
                if start == 1:
                    bk, bj, bi = 0.0, 0.0, 0.0
                    near = ((_at(evaluated, k0, j0, i0) - wanted) * scale) ** 2
                size = 1.0
                for _ in range(REFINEMENTS):
                    size *= 0.5
                    ck, cj, ci = bk, bj, bi
                    for a in range(-1, 2):
                        for b in range(-1, 2):
                            for c in range(-1, 2):
                                dk, dj, di = (
                                    ck + a * size * finest[0],
                                    cj + b * size * finest[1],
                                    ci + c * size * finest[2],
                                )
                                apart = (
                                    (dk * per_distance[0]) ** 2
                                    + (dj * per_distance[1]) ** 2
                                    + (di * per_distance[2]) ** 2
                                )
                                if apart >= near:
                                    continue
                                found = _at(evaluated, k0 + dk, j0 + dj, i0 + di)
                                value = apart + ((found - wanted) * scale) ** 2
                                if value < near:
                                    near = value
                                    bk, bj, bi = dk, dj, di
                best = min(best, near)
            out[k, j, i] = np.sqrt(best)
