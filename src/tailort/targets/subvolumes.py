"""Biological sub-volumes: the part of a target that an image of function singles out, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image, intersect, partial_volume, subtract, volume_cm3
from tailort.geometry.contours import in_plane, level_set
from tailort.patient import FunctionalImage, Quantity, Structure
from tailort.targets.delineation import Mask, Shaping, Spacing, Spread, Values, delineate, finite, shape, uncertainties
from tailort.targets.uptake_methods import Chosen, evidence

AROUND_MM = 30.0
"""What is looked at beyond a target."""
# The uptake around a target is read in a shell, from here to there beyond it, mm.
_SHELL_MM = (10.0, 20.0)
_LONGEST_NAME = 16


@dataclass(frozen=True, eq=False)
class SubVolume:
    """A part of a target that an image of function singles out.

    Parameters
    ----------
    structure : Structure
        Contours on the slices of the image's grid, inside the target and outside what is spared.
    target : str
        Of which it is a part.
    quantity : Quantity
        Of the image.
    chosen : Chosen
        Method and number.
    source, mark : str
        Of that method and number.
    level : float
        In the quantity's unit: the value at its edge.
    extreme, background : float or None
        Highest value in the target (lowest where low values are sought), and that around it where it was needed.
    volume_cm3, target_cm3 : float
        Of the contours.
    mean : float
        Of the quantity inside.
    dropped_cm3 : tuple of float
        Parts that were too small.
    spared_cm3 : dict of float
        What structures that are not to be painted took away.
    noise : float or None
        Standard deviation of single voxels in the target, estimated; None is unknown.
    spreads : tuple of Spread
        By noise (where it is known) and by registration.
    shaping : Shaping
        As chosen.
    """

    structure: Structure
    target: str
    quantity: Quantity
    chosen: Chosen
    source: str
    mark: str
    level: float
    extreme: float
    background: float | None
    volume_cm3: float
    target_cm3: float
    mean: float
    dropped_cm3: tuple[float, ...]
    spared_cm3: Mapping[str, float]
    noise: float | None
    spreads: tuple[Spread, ...]
    shaping: Shaping = field(default_factory=Shaping)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.structure.name, "target": self.target, "quantity": self.quantity.id,
            "unit": self.quantity.unit, "method": str(self.chosen), "text": self.chosen.method.text,
            "source": self.source, "mark": self.mark, "level": self.level, "extreme_in_target": self.extreme,
            "background": self.background, "volume_cm3": self.volume_cm3, "target_cm3": self.target_cm3,
            "mean": self.mean, "dropped_cm3": list(self.dropped_cm3), "spared_cm3": dict(self.spared_cm3),
            "smoothing_mm": self.shaping.smoothing_mm, "least_cm3": self.shaping.least_cm3, "noise": self.noise,
            "uncertainty": [vars(spread) for spread in self.spreads],
        }  # fmt: skip


def subvolume(
    image: FunctionalImage,
    target: Structure,
    chosen: Chosen,
    *,
    spared: Sequence[Structure] = (),
    background: float | None = None,
    shaping: Shaping | None = None,
    name: str | None = None,
) -> SubVolume:
    """Delineate the part of a target that an image of function singles out.

    Parameters
    ----------
    image : FunctionalImage
        On an axial grid in the target's frame of reference; the contours lie on its slices.
    target : Structure
        The GTV.
    chosen : Chosen
        Method and number.
    spared : sequence of Structure
        Planning risk volumes: nothing in them is painted (RB-147).
    background : float or None
        Uptake around, in the unit of the image; None takes the median of a shell 10 to 20 mm beyond the target.
    shaping : Shaping or None
        Smoothing and least size.
    name : str or None
        TG-263 name; None makes one.

    Returns
    -------
    SubVolume
        With its uncertainty: the level moved up and down by the noise (of the gradient's edge: by the noise over its
        steepness), and the image moved along each axis, there and back, by the standard deviation of its registration
        and no less than half of its longest voxel.

    Raises
    ------
    InputError
        When the method does not go with the quantity, or nothing of the target belongs to the sub-volume.
    GeometryError
        When the image does not show the whole target.
    """
    quantity, shaping = image.quantity, shaping or Shaping()
    sign = 1.0 if quantity.sought == "high" else -1.0
    if sign < 0 and chosen.method.id in ("relative", "nestle"):
        raise InputError(
            f"a share of the highest value has no meaning for {quantity.id}, whose low values are sought; use "
            "absolute, contrast, gradient, kmeans or gmm"
        )
    around = _around(target, image.image.grid)
    values = _part(image.image, around)
    grid, spacing = around, around.spacing_mm
    within = _filled(target, grid)
    if not within.any():
        raise GeometryError(f"structure '{target.name}' fills no voxel of the image: it is too small or elsewhere")
    if not np.isfinite(values[within]).all():
        missing = 100.0 * float(np.mean(~np.isfinite(values[within])))
        raise GeometryError(f"the functional image does not reach {missing:.1f} % of '{target.name}'; scan it whole")
    seen = sign * values
    if chosen.method.background:
        around_value = sign * background if background is not None else _shell(seen, within, spacing)
    else:
        around_value = None
    own_mm = max(image.own_spacing_mm) if np.isfinite(image.own_spacing_mm).all() else max(spacing)
    made = delineate(seen, within, spacing, chosen, around_value, blur_mm=own_mm / 2.0, sign=sign)
    spare = {one.name: _filled(one, grid) for one in spared if not one.is_empty}
    free = within & ~np.any([np.zeros_like(within), *spare.values()], axis=0)
    kept, field_, dropped = shape(made.height, free, spacing, shaping)
    extreme = float(seen[within].max())
    if not kept.any():
        left = f"; what reaches it is spared, or under {shaping.least_cm3:g} cm3" if made.mask[within].any() else ""
        raise InputError(
            f"nothing of '{target.name}' belongs to the sub-volume by {chosen}: its edge lies at "
            f"{sign * made.level:.4g} {quantity.unit}, the target's extreme is {sign * extreme:.4g}{left}"
        )
    contours = _contours(field_, kept, grid)
    thickness, planes = spacing[0], grid.axes_mm()[0]
    contours = intersect(contours, target.contours, planes, single_slice_thickness_mm=thickness)
    for one in spared:
        if spare.get(one.name, within[:0]).any():
            contours = subtract(contours, one.contours, planes, single_slice_thickness_mm=thickness)
    source, mark = evidence(chosen, quantity.id)
    noise = None if image.noise is None else _median(_part(image.noise, around)[within])
    reach_mm = max(image.uncertainty_mm or 0.0, own_mm / 2.0)
    spreads = uncertainties(made, free, spacing, shaping, noise, reach_mm, image.uncertainty_mm is not None)
    edge = f"edge at {sign * made.level:.4g} {quantity.unit}"
    how = f"{chosen} of {quantity.id} in {target.name}, {edge} ({source}, {mark})"
    drawn = Structure(
        name or subvolume_name(target.name, quantity, chosen), target.role, contours, target.frame_of_reference,
        made_by=(how, image.source),
    )  # fmt: skip
    return SubVolume(
        drawn, target.name, quantity, chosen, source, mark, sign * made.level, sign * extreme,
        None if around_value is None else sign * around_value,
        volume_cm3(contours, single_slice_thickness_mm=thickness),
        volume_cm3(target.contours, single_slice_thickness_mm=thickness), float(values[kept].mean()), dropped,
        {n: float((made.mask & within & mask).sum() * grid.voxel_volume_cm3) for n, mask in spare.items()}, noise,
        spreads, shaping,
    )  # fmt: skip


def subvolume_name(target: str, quantity: Quantity, chosen: Chosen) -> str:
    """TG-263 name of a sub-volume: the target, the modality, and after ^ what it is.

    Raises
    ------
    InputError
        When it is longer than 16 characters.
    """
    number = "" if chosen.number is None else f"{chosen.number:g}"
    if chosen.method.id == "absolute" and quantity.unit == "mm2/s" and chosen.number is not None:
        number = f"{chosen.number * 1e6:.0f}"
    short = {
        "relative": "", "absolute": "", "contrast": "c", "nestle": "n", "gradient": "edge", "kmeans": "k", "gmm": "g",
    }  # fmt: skip
    what = quantity.short + short[chosen.method.id] + number.replace(".", "p")
    if chosen.method.id == "absolute" and quantity.unit == "SUV":
        what = f"SUV{number.replace('.', 'p')}"
    name = f"{target}_{quantity.modality}^{what}"
    if len(name) > _LONGEST_NAME:
        raise InputError(f"the sub-volume would be called '{name}', longer than 16 characters; name it with --name")
    return name


def _around(target: Structure, grid: Grid) -> Grid:
    """Part of a grid around a target."""
    if target.is_empty:
        raise GeometryError(f"structure '{target.name}' has no contours, so it has no sub-volume")
    grid.require_axial("delineating a sub-volume")
    grid.require_same_frame(target.frame_of_reference, f"structure '{target.name}'")
    low, high = target.bounds_mm()
    index = grid.to_index(np.stack([low - AROUND_MM, high + AROUND_MM]))
    return grid.crop(np.floor(index.min(axis=0)), np.ceil(index.max(axis=0)) + 1)


def _part(image: Image, grid: Grid) -> Values:
    """Values on a crop of an image's own grid."""
    first = np.rint(image.grid.to_index(grid.origin_mm)).astype(int)
    k, j, i = (slice(a, a + n) for a, n in zip(first, grid.shape, strict=True))
    return np.asarray(image.values[k, j, i], dtype=np.float64)


def _filled(structure: Structure, grid: Grid) -> Mask:
    """Voxels of which at least half lies in a structure."""
    part = partial_volume(structure.contours, grid, single_slice_thickness_mm=grid.spacing_mm[0])
    return np.asarray(part.full() >= 0.5, dtype=np.bool_)


def _shell(values: Values, within: Mask, spacing_mm: Spacing) -> float:
    away_mm = ndimage.distance_transform_edt(~within, sampling=spacing_mm)
    near, far = _SHELL_MM
    return _median(values[(away_mm > near) & (away_mm <= far)])


def _median(values: Values) -> float:
    known = values[np.isfinite(values)]
    if not known.size:
        raise InputError("the image shows nothing around the target; give the uptake there with --background")
    return float(np.median(known))


def _contours(height: Values, kept: Mask, grid: Grid) -> tuple[NDArray[np.float64], ...]:
    """Contours of what was kept, between voxels where the height tells it."""
    near = ndimage.binary_dilation(kept, ndimage.generate_binary_structure(3, 1))
    known = finite(height)
    field_ = np.where(near, known, -np.abs(known))
    zs, ys, xs = grid.axes_mm()
    out: list[NDArray[np.float64]] = []
    for k in np.flatnonzero(kept.any(axis=(1, 2))):
        out.extend(in_plane(level_set(field_[k], xs, ys), float(zs[k])))
    return tuple(out)
