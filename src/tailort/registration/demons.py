"""Deformable registration by diffeomorphic demons, coarse to fine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import GeometryError, InputError, StoppedError
from tailort.geometry import Grid, Image, resample
from tailort.registration.field import Field, pull
from tailort.registration.itk import WORK_UNITS, to_itk
from tailort.registration.registration import Registration
from tailort.registration.scan import Mask, Stop, Tell, bounds, look_at, smoothed, tone

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Level:
    """One stage of the search.

    Parameters
    ----------
    spacing_mm : float
        Voxels that are compared.
    steps : int
        Demons steps.
    smoothing_mm : float
        Standard deviation of the Gaussian that smooths the displacement after each step.
    """

    spacing_mm: float
    steps: int
    smoothing_mm: float


LEVELS = (Level(12.0, 40, 24.0), Level(8.0, 30, 12.0), Level(4.0, 20, 8.0))
"""Wide first, so that organs without contrast inside follow their surroundings."""

_RIM_MM = 24.0
_STEPS_AT_ONCE = 10
_LONGEST_STEP_VOXELS = 2.0
_LEAST_DETERMINANT = 0.05
_GUIDE_TONE = 150.0
_UNFOLDING = 6
# Soft tissue and lung on the scale that is compared.
_WALL_TONE, _ROOM_TONE = 520.0, 140.0


@dataclass(frozen=True, eq=False)
class Guide:
    """One structure as drawn on both scans, which the registration shall bring together.

    Parameters
    ----------
    today : (k, j, i) bool
        On today's grid.
    earlier : (k, j, i) bool
        On the earlier scan's grid.
    """

    today: Mask
    earlier: Mask


def deformable(
    fixed: Image,
    moving: Image,
    start: Registration,
    *,
    guides: Mapping[str, Guide] | None = None,
    without: Mask | None = None,
    sliding: Guide | None = None,
    levels: tuple[Level, ...] = LEVELS,
    tell: Tell = lambda share: None,
    stop: Stop = lambda: False,
) -> Registration:
    """Find how today's anatomy is bent against that of an earlier CT.

    Parameters
    ----------
    fixed, moving : Image
        Today's and the earlier CT, HU.
    start : Registration
        From today's frame to the earlier one, usually `rigid`; its rigid part is kept, a displacement is begun with.
    guides : mapping of name to Guide, or None
        Structures drawn on both scans whose agreement counts beside the CT numbers.
    without : (k, j, i) bool or None
        On today's grid: tissue without counterpart in the earlier scan (a gastric tube, a resected bed), whose
        displacement follows its surroundings.
    sliding : Guide or None
        A room drawn on both scans, such as both lungs, that slides along its wall: inside and outside are then
        registered each by themselves, and the displacement may jump in between.
    levels : tuple of Level
        Coarse to fine.
    tell : callable
        Called with the share done, 0 to 1.
    stop : callable
        Asked every few steps; True ends the work.

    Returns
    -------
    Registration
        With a displacement on a grid around today's body, whose Jacobian determinant is above 0 everywhere.

    Raises
    ------
    InputError
        When an image is not a CT, too small or empty, or the field folds and smoothing does not mend it.
    GeometryError
        When the start or a mask does not belong to the scans.
    StoppedError
        When `stop` ended it.

    Notes
    -----
    CT numbers are compared on a scale that keeps -200 to 300 HU and compresses lung and bone. Where the earlier scan
    does not reach, and in `without`, no force acts. The total displacement is smoothed in every step.

    References
    ----------
    Vercauteren et al., NeuroImage 2009;45:S61 (diffeomorphic demons), doi:10.1016/j.neuroimage.2008.10.040.
    """
    for image, called in ((fixed, "today's scan"), (moving, "the earlier scan")):
        if image.unit != "HU":
            raise InputError(
                f"deformable registration compares CT numbers; {called} is in '{image.unit}': register it rigidly"
            )
    if (start.from_frame, start.to_frame) != (fixed.grid.frame_of_reference, moving.grid.frame_of_reference):
        raise GeometryError(
            f"the start leads from {start.from_frame} to {start.to_frame}; today's scan is in "
            f"{fixed.grid.frame_of_reference} and the earlier one in {moving.grid.frame_of_reference}"
        )
    guides = guides or {}
    _require_fitting(fixed, moving, guides, without, sliding)
    region = _region(fixed.grid, look_at(fixed, "today's scan").body)
    look_at(moving, "the earlier scan")
    pairs = _pairs(_compared(fixed, moving, guides), sliding)
    left_out = None if without is None else _as_image(fixed.grid, without)
    fields = []
    for number, (todays, earlier) in enumerate(pairs):

        def told(share: float, number: int = number) -> None:
            tell(0.98 * (number + share) / len(pairs))

        fields.append(_found(todays, earlier, region, start, levels, left_out, told, stop))
    field = fields[0] if sliding is None else _joined(fields[0], fields[1], _as_image(fixed.grid, sliding.today))
    field, rounds = _unfolded(field)
    tell(1.0)
    words = [f"{start.method}; then diffeomorphic demons on CT numbers, {levels[-1].spacing_mm:g} mm"]
    if guides:
        words.append(f"guided by {', '.join(sorted(guides))}")
    if without is not None:
        words.append("tissue without counterpart left out")
    if sliding is not None:
        words.append("inside and outside of a sliding wall by themselves")
    if rounds:
        words.append(f"smoothed {rounds} times more against folds")
    return Registration(start.rigid, field, "; ".join(words))


def _found(
    todays: Image,
    earlier: Image,
    region: Grid,
    start: Registration,
    levels: tuple[Level, ...],
    left_out: Image | None,
    tell: Tell,
    stop: Stop,
) -> Field:
    """Displacement of one pair of images, coarse to fine."""
    finest = min(level.spacing_mm for level in levels)
    todays, earlier = smoothed(todays, finest), smoothed(earlier, finest)
    whole, done = sum(level.steps for level in levels), 0
    field = start.displacement or _still(region.with_spacing(levels[0].spacing_mm))
    rigid_start = Registration(start.rigid)
    for level in levels:
        grid = region.with_spacing(level.spacing_mm)
        target = smoothed(todays, level.spacing_mm, grid, np.nan).values
        source = rigid_start.map_image(smoothed(earlier, level.spacing_mm, earlier.grid), grid, np.nan).values
        reached = np.isfinite(source)
        source = _filled(source, reached)
        blind = ~np.isfinite(target)
        if left_out is not None:
            blind |= smoothed(left_out, level.spacing_mm, grid).values > 0.5
        field = field.on(grid)
        left = level.steps
        while left > 0:
            if stop():
                raise StoppedError("stopped before the scans were registered")
            steps = min(left, _STEPS_AT_ONCE)
            # A voxel that shows what it is compared with feels no force.
            unseen = blind | (_pulled(reached.astype(np.float32), field) < 0.999)
            field = _demons(np.where(unseen, _pulled(source, field), target), source, field, level, steps)
            left, done = left - steps, done + steps
            tell(done / whole)
    return field


def _require_fitting(
    fixed: Image, moving: Image, guides: Mapping[str, Guide], without: Mask | None, sliding: Guide | None
) -> None:
    masks = [("what has no counterpart", without, fixed.grid)] if without is not None else []
    for name, guide in {**guides, **({} if sliding is None else {"what slides": sliding})}.items():
        masks += [(f"'{name}' of today", guide.today, fixed.grid), (f"'{name}' before", guide.earlier, moving.grid)]
    for called, mask, grid in masks:
        if mask.shape != grid.shape or not mask.any():
            raise GeometryError(
                f"the mask of {called} has shape {mask.shape} with {int(mask.sum())} voxels inside; it must lie on its "
                f"scan's grid {grid.shape} and not be empty"
            )


def _as_image(grid: Grid, mask: Mask) -> Image:
    return Image(grid, mask.astype(np.float32), "1")


def _compared(fixed: Image, moving: Image, guides: Mapping[str, Guide]) -> tuple[Image, Image]:
    """Both scans on the scale that is compared, guided structures standing out from what is around them."""
    values = [tone(np.asarray(image.values, dtype=np.float32)) for image in (fixed, moving)]
    for guide in guides.values():
        around = ndimage.binary_dilation(guide.today, iterations=3) & ~guide.today
        brighter = values[0][guide.today].mean() >= values[0][around].mean() if around.any() else True
        for tones, mask in zip(values, (guide.today, guide.earlier), strict=True):
            tones += np.float32(_GUIDE_TONE if brighter else -_GUIDE_TONE) * mask
    return Image(fixed.grid, values[0], "1"), Image(moving.grid, values[1], "1")


def _pairs(compared: tuple[Image, Image], sliding: Guide | None) -> list[tuple[Image, Image]]:
    """What is registered by itself: all of it, or the inside and the outside of a wall, the other side made even."""
    if sliding is None:
        return [compared]
    masks = (sliding.today, sliding.earlier)
    inside, outside = (
        tuple(
            image.with_values(np.where(mask == kept, image.values, np.float32(even)))
            for image, mask in zip(compared, masks, strict=True)
        )
        for kept, even in ((True, _WALL_TONE), (False, _ROOM_TONE))
    )
    return [(inside[0], inside[1]), (outside[0], outside[1])]


def _joined(inside: Field, outside: Field, room: Image) -> Field:
    """One displacement of both sides of a wall."""
    share = resample(room, inside.grid, 0.0).values > 0.5
    return Field(inside.grid, np.where(share[..., None], inside.vectors_mm, outside.vectors_mm))


def _region(grid: Grid, body: Mask) -> Grid:
    """Voxels of a grid around the body, with room for what moves out of it."""
    rims = [round(_RIM_MM / spacing) for spacing in grid.spacing_mm]
    low, high = zip(*((a - rim, b + rim) for (a, b), rim in zip(bounds(body), rims, strict=True)), strict=True)
    affine = np.array(grid.affine)
    affine[:3, 3] = grid.to_world(low)
    k, j, i = (b - a for a, b in zip(low, high, strict=True))
    return Grid((k, j, i), affine, grid.frame_of_reference)


def _still(grid: Grid) -> Field:
    return Field(grid, np.zeros((*grid.shape, 3), dtype=np.float32))


def _filled(values: Values, known: Mask) -> Values:
    """Values beyond a scan's end continue those of the nearest voxel."""
    if known.all():
        return values
    if not known.any():
        raise InputError(
            "the scans do not overlap where the start of the registration puts them; register rigidly first"
        )
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.ascontiguousarray(values[tuple(nearest)])


def _pulled(values: Values, field: Field) -> Values:
    """An image on the field's grid, read where the field leads."""
    to_source = np.asarray(np.linalg.inv(field.grid.affine), dtype=np.float64)
    return pull(np.ascontiguousarray(values), to_source, field.grid.shape, 0.0, field, np.array(field.grid.affine))


def _demons(target: Values, source: Values, field: Field, level: Level, steps: int) -> Field:
    """Some steps of diffeomorphic demons, the total displacement smoothed in each."""
    grid = field.grid
    demons = SimpleITK.DiffeomorphicDemonsRegistrationFilter()
    demons.SetNumberOfWorkUnits(WORK_UNITS)
    demons.SetNumberOfIterations(steps)
    demons.SetMaximumRMSError(0.0)
    demons.SetMaximumUpdateStepLength(_LONGEST_STEP_VOXELS)
    demons.SmoothDisplacementFieldOn()
    demons.SetStandardDeviations([level.smoothing_mm / spacing for spacing in grid.spacing_mm[::-1]])
    demons.SmoothUpdateFieldOff()
    begun = to_itk(grid, field.vectors_mm, np.float64)
    found = demons.Execute(to_itk(grid, target), to_itk(grid, source), begun)
    return Field(grid, SimpleITK.GetArrayViewFromImage(found).astype(np.float32))


def _unfolded(field: Field) -> tuple[Field, int]:
    """Smooth a field until it folds nowhere; gives how often."""
    for rounds in range(_UNFOLDING + 1):
        folded = field.least_determinant() < _LEAST_DETERMINANT
        if not folded.any():
            return field, rounds
        softer = ndimage.gaussian_filter(field.vectors_mm, (1.0, 1.0, 1.0, 0.0), mode="nearest")
        near = ndimage.gaussian_filter(ndimage.binary_dilation(folded, iterations=4).astype(np.float32), 2.0)
        share = np.clip(2.0 * near, 0.0, 1.0)[..., None]
        field = Field(field.grid, (field.vectors_mm + share * (softer - field.vectors_mm)).astype(np.float32))
    raise InputError(
        "the deformable registration folds (Jacobian determinant below 0) and smoothing does not mend it: check that "
        "the scans show the same patient and position, name tissue without counterpart, or register rigidly"
    )
