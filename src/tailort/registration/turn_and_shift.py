"""Rigid registration: one turn and one shift for the whole scan."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import GeometryError, InputError, StoppedError
from tailort.geometry import Grid, Image, Transform
from tailort.registration.itk import WORK_UNITS, to_itk
from tailort.registration.registration import Registration
from tailort.registration.scan import Mask, Scan, Stop, Tell, look_at, on_scale, smoothed
from tailort.registration.start import GRID_MM, LEAST_OVERLAP, best_shifts

Metric = Literal["correlation", "mean squares", "mutual information"]

LEAST_LIKENESS_FOUND = 0.5
"""Correlation of two scans of one kind after registration, below which they show different things."""
_FINEST_MM = 2.5
_SHRINK = (4, 2, 1)
_SMOOTHING_MM = (6.0, 3.0, 0.0)
_SAMPLED = (0.5, 0.2, 0.1)
_SEED = 1
# Scans of two kinds: edges tell the shift less surely than values do.
_STARTS = 4
_STEPS = 120
_BINS = 48
_RIM_MM = 10.0
_STRETCH = 1e-3
_WORDS = {
    "correlation": "correlation of the images",
    "mean squares": "mean square difference",
    "mutual information": "mutual information",
}


def rigid(
    fixed: Image,
    moving: Image,
    *,
    metric: Metric,
    mask: Mask | None = None,
    start: Transform | None = None,
    tell: Tell = lambda share: None,
    stop: Stop = lambda: False,
) -> Registration:
    """Find the turn and shift that bring points of today's scan into an earlier or another one.

    Parameters
    ----------
    fixed : Image
        Today's scan.
    moving : Image
        The other scan, in its own frame of reference.
    metric : {"correlation", "mean squares", "mutual information"}
        What is compared: "correlation" for CT with CT, "mean squares" where both have the same scale as well,
        "mutual information" for MR or PET with CT.
    mask : (k, j, i) bool or None
        On the fixed grid: what must agree, such as the spine; None takes the body without the couch.
    start : Transform or None
        From today's frame to the other; None searches all shifts.
    tell : callable
        Called with the share done, 0 to 1.
    stop : callable
        Asked now and then; True ends the work.

    Returns
    -------
    Registration
        From the frame of `fixed` to that of `moving`; the same input gives the same result.

    Raises
    ------
    InputError
        When a scan is too small or empty, the scans do not overlap, or mean squares is asked of unlike units.
    StoppedError
        When `stop` ended it.

    References
    ----------
    Mattes et al., IEEE Trans Med Imaging 2003;22:120 (mutual information), doi:10.1109/TMI.2003.809072.
    """
    if metric not in get_args(Metric):
        raise InputError(f"unknown measure of likeness '{metric}'; known are {', '.join(get_args(Metric))}")
    if metric == "mean squares" and fixed.unit != moving.unit:
        raise InputError(
            f"mean squares compares scans of one scale; found units '{fixed.unit}' and '{moving.unit}': "
            "use mutual information"
        )
    if mask is not None and mask.shape != fixed.grid.shape:
        raise GeometryError(
            f"the mask of a registration has shape {mask.shape}; it must lie on today's grid {fixed.grid.shape}"
        )
    today, other = look_at(_reduced(fixed), "today's scan"), look_at(_reduced(moving), "the other scan")
    compared = on_scale(today.image), on_scale(other.image)
    wanted = _rimmed(today) if mask is None else _reduced(Image(fixed.grid, mask.astype(np.float32), "1")).values > 0.5
    if not wanted.any():
        raise GeometryError("the mask of a registration holds no voxel; give a larger one, or none for the whole body")
    centre = today.image.grid.to_world(np.array(ndimage.center_of_mass(today.body if mask is None else wanted)))
    if start is not None:
        if (start.from_frame, start.to_frame) != (fixed.grid.frame_of_reference, moving.grid.frame_of_reference):
            raise GeometryError("the start of a registration must lead from today's frame of reference to the other's")
        begins = [_as_rigid(start)]
    else:
        edges = metric == "mutual information"
        shifts = best_shifts(today, other, compared, edges, _STARTS if edges else 1)
        begins = [_shifted(shift) for shift in shifts]
    affine, at_end = _best_of(begins, wanted, compared, metric, centre, (tell, stop))
    found = Transform(
        fixed.grid.frame_of_reference, moving.grid.frame_of_reference, affine, provenance=f"rigid, {_WORDS[metric]}"
    )
    _require_overlap(today, other, found)
    if fixed.unit == moving.unit:
        _require_likeness(today, compared, found)
    tell(1.0)
    return Registration(found, method=f"rigid, {_WORDS[metric]} ({at_end:.3g} at the end)")


def _reduced(image: Image) -> Image:
    """A scan on the finest voxels that are compared, in its own unit."""
    small = smoothed(image, max(_FINEST_MM, min(image.grid.spacing_mm)))
    return small.with_values(small.values, image.unit)


def _as_rigid(start: Transform) -> NDArray[np.float64]:
    """The affine of a rigid transform, freed of what rounding has added."""
    left, stretch, right = np.linalg.svd(start.affine[:3, :3])
    if np.abs(stretch - 1.0).max() > _STRETCH or np.linalg.det(left @ right) < 0:
        raise GeometryError("the start of a rigid registration stretches or mirrors; give a turn and a shift only")
    affine = np.array(start.affine)
    affine[:3, :3] = left @ right
    return affine


def _shifted(shift_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, 3] = shift_mm
    return affine


def _best_of(
    begins: list[NDArray[np.float64]],
    wanted: Mask,
    compared: tuple[Image, Image],
    metric: Metric,
    centre: NDArray[np.float64],
    heard: tuple[Tell, Stop],
) -> tuple[NDArray[np.float64], float]:
    """The likeliest end of the descents from several starts."""
    tell, stop = heard
    ends: list[tuple[NDArray[np.float64], float]] = []
    for number, begin in enumerate(begins):

        def told(share: float, number: int = number) -> None:
            tell((number + share) / len(begins))

        try:
            ends.append(_refined(wanted, compared, metric, begin, centre, (told, stop)))
        except InputError:
            # A start that leads nowhere says nothing of the others.
            if number + 1 == len(begins) and not ends:
                raise
    return min(ends, key=lambda end: end[1] if metric == "mean squares" else -end[1])


def _refined(
    wanted: Mask,
    compared: tuple[Image, Image],
    metric: Metric,
    begin: NDArray[np.float64],
    centre: NDArray[np.float64],
    heard: tuple[Tell, Stop],
) -> tuple[NDArray[np.float64], float]:
    """Descend from the start, coarse to fine; gives the affine and the measure of likeness at the end."""
    tell, stop = heard
    method = SimpleITK.ImageRegistrationMethod()
    method.SetNumberOfWorkUnits(WORK_UNITS)
    method.SetInterpolator(SimpleITK.sitkLinear)
    if metric == "mutual information":
        method.SetMetricAsMattesMutualInformation(_BINS)
    elif metric == "correlation":
        method.SetMetricAsCorrelation()
    else:
        method.SetMetricAsMeanSquares()
    method.SetMetricFixedMask(to_itk(compared[0].grid, wanted, np.uint8))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentagePerLevel(list(_SAMPLED), _SEED)
    method.SetShrinkFactorsPerLevel(list(_SHRINK))
    method.SetSmoothingSigmasPerLevel(list(_SMOOTHING_MM))
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=_STEPS, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-9
    )
    method.SetOptimizerScalesFromPhysicalShift()
    transform = SimpleITK.Euler3DTransform()
    transform.SetCenter([float(c) for c in centre])
    transform.SetMatrix([float(m) for m in begin[:3, :3].ravel()], 1e-6)
    transform.SetTranslation([float(t) for t in begin[:3, :3] @ centre + begin[:3, 3] - centre])
    method.SetInitialTransform(transform, inPlace=True)

    def listen() -> None:
        if stop():
            method.StopRegistration()
        level = method.GetCurrentLevel()
        tell(min(0.99, (level + method.GetOptimizerIteration() / _STEPS) / len(_SHRINK)))

    method.AddCommand(SimpleITK.sitkIterationEvent, listen)
    try:
        method.Execute(*(to_itk(image.grid, image.values) for image in compared))
    except RuntimeError as error:
        raise InputError(
            "the scans could not be brought together: they lost their overlap on the way; give a start, or scans of "
            "the same part of the body"
        ) from error
    if stop():
        raise StoppedError("stopped before the scans were registered")
    matrix = np.array(transform.GetMatrix()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = centre + np.array(transform.GetTranslation()) - matrix @ centre
    at_end = float(method.GetMetricValue())
    return affine, at_end if metric == "mean squares" else -at_end


def _rimmed(scan: Scan) -> Mask:
    """Body with a rim, so that the skin counts."""
    reach = [max(1, round(_RIM_MM / spacing)) for spacing in scan.image.grid.spacing_mm]
    grown: Mask = scan.body
    for axis, steps in enumerate(reach):
        grown = ndimage.maximum_filter1d(grown.view(np.uint8), 2 * steps + 1, axis=axis).astype(bool)
    return grown


def _require_overlap(today: Scan, other: Scan, found: Transform) -> None:
    """Refuse a result at which the scans have little in common."""
    shares = []
    for scan, grid, to in (
        (today, other.image.grid, found),
        (other, today.image.grid, found.inverse()),
    ):
        inside = np.argwhere(scan.body[::4, ::4, ::4]) * 4
        shares.append(_share_within(grid, to.apply(scan.image.grid.to_world(inside))))
    if max(shares) < LEAST_OVERLAP:
        raise InputError(
            f"the scans do not overlap: {100 * max(shares):.0f} % of the smaller one lie in the other, at least "
            f"{100 * LEAST_OVERLAP:.0f} % are needed; give scans of the same part of the body"
        )


def _require_likeness(today: Scan, compared: tuple[Image, Image], found: Transform) -> None:
    """Refuse a result at which the scans show different things, over what both show of today's body."""
    fixed, moving = compared
    grid = fixed.grid.with_spacing(GRID_MM)
    there = smoothed(moving, GRID_MM, moving.grid)
    values = smoothed(fixed, GRID_MM, grid).values
    read = Registration(found).map_image(there, grid, np.nan).values
    body = smoothed(Image(fixed.grid, _rimmed(today).astype(np.float32), "1"), GRID_MM, grid).values > 0.5
    both = body & np.isfinite(read)
    likeness = float(np.corrcoef(values[both], read[both])[0, 1]) if both.any() else 0.0
    if not likeness >= LEAST_LIKENESS_FOUND:
        raise InputError(
            f"the scans do not show the same part of the same body: where they fit best their correlation is "
            f"{likeness:.2f}, at least {LEAST_LIKENESS_FOUND:g} is needed; give other scans, or a start"
        )


def _share_within(grid: Grid, points_mm: NDArray[np.float64]) -> float:
    index = grid.to_index(points_mm)
    return float(((index >= -0.5) & (index <= np.array(grid.shape) - 0.5)).all(axis=-1).mean())
