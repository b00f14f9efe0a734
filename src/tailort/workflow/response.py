"""Serial response: what images of one quantity show of one structure over the weeks, against the first of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, InputError
from tailort.geometry import Image, partial_volume
from tailort.patient import FunctionalImage, Quantity, Structure
from tailort.targets.uptake_methods import Chosen, level_of
from tailort.workflow.functional import require_reached

REPEATS_PERCENT = (-25.0, 33.0)
"""Changes of an FDG SUV that repeated scans without treatment show as well."""
REPEATS_SOURCE = "Lodge, J Nucl Med 2017;58:523, abstract [lit-verified]"
UPTAKE_APART_MIN = 10.0
"""Scans whose uptake times differ by more are not compared; EANM, recalled."""
FOLLOWED = ("maximum", "peak", "mean", "volume_cm3", "total")
"""Numbers of an `Uptake` whose change is told."""
# What is compared is named alike in the facts of an image.
_MINUTES, _SAME = "minutes of uptake", ("scanner", "reconstruction")
_VOXELS_WITHIN = 0.01
# Radius of a ball of 1 cm3.
_BALL_MM = 10.0 * (3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
_PARTS = 7
_THRESHOLDS = ("relative", "absolute")

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Uptake:
    """What one image shows in a structure.

    Parameters
    ----------
    maximum, mean : float
        In the unit of the image; the highest of the voxels of which at least half lies in the structure.
    peak : float or None
        Highest mean of a ball of 1 cm3 whose middle lies in the structure; None where the image shows no whole one.
    level : float
        From which on a voxel counts as taken up.
    volume_cm3 : float
        Part of the structure at and above the level.
    total : float
        Volume times the mean in it, unit of the image times cm3.
    """

    maximum: float
    mean: float
    peak: float | None
    level: float
    volume_cm3: float
    total: float


@dataclass(frozen=True, eq=False)
class SeriesScan:
    """One scan of a series.

    Parameters
    ----------
    image : FunctionalImage
        On the planning CT.
    uptake : Uptake
        In the structure.
    day : int or None
        Days since the start of treatment, below 0 before it; None is unknown.
    minutes : float or None
        From the injection to the time of the values; None is unknown.
    change_percent : dict of float or None
        Of the numbers in FOLLOWED against the first scan, percent of the first.
    unlike : tuple of str
        Why it is not to be compared with the first scan.
    repeats : bool or None
        Whether the change of the maximum is no larger than what repeats; None where that is not known.
    """

    image: FunctionalImage
    uptake: Uptake
    day: int | None
    minutes: float | None
    change_percent: Mapping[str, float | None]
    unlike: tuple[str, ...]
    repeats: bool | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        image = self.image
        return {
            "date": image.date.isoformat(), "days_since_start": self.day, "minutes_of_uptake": self.minutes,
            **vars(self.uptake), "change_percent": dict(self.change_percent), "not_comparable": list(self.unlike),
            "within_repeatability": self.repeats, "series": image.source, "registered": image.registered,
            "uncertainty_mm": image.uncertainty_mm, "own_spacing_mm": list(image.own_spacing_mm),
            "facts": dict(image.facts), "notes": list(image.notes),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Series:
    """Images of one quantity in one structure, by date.

    Parameters
    ----------
    structure : str
        As drawn on the planning CT; it is the same for every scan.
    quantity : Quantity
        Of all images.
    threshold : Chosen
        By which a volume is told, of each scan its own.
    start : date or None
        Day of the first fraction.
    scans : tuple of SeriesScan
        The first is what the others are compared with.
    """

    structure: str
    quantity: Quantity
    threshold: Chosen
    start: dt.date | None
    scans: tuple[SeriesScan, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What belongs on the first page of a report."""
        told = [note for scan in self.scans for note in scan.image.notes if "insisted" in note]
        told += [
            f"the scan of {scan.image.date} is not to be compared with that of {self.scans[0].image.date}: "
            f"{'; '.join(scan.unlike)}"
            for scan in self.scans
            if scan.unlike
        ]
        return tuple(dict.fromkeys(told))


def series_of(
    images: Sequence[FunctionalImage],
    structure: Structure,
    threshold: Chosen,
    start: dt.date | None = None,
    *,
    slice_thickness_mm: float,
) -> Series:
    """Follow the uptake of a structure over several images.

    Parameters
    ----------
    images : sequence of FunctionalImage
        Two or more, of one quantity and of different days, in any order; each on an axial grid of its own in the
        structure's frame of reference, with room for a ball of 1 cm3 around it.
    structure : Structure
        As drawn on the planning CT.
    threshold : Chosen
        `relative` (of each scan's own highest) or `absolute`.
    start : date or None
        Day of the first fraction; None is unknown.
    slice_thickness_mm : float
        Of the CT that the structure is drawn on.

    Raises
    ------
    InputError
        For fewer than two images, two of one day, different quantities, one whose low values are sought, and another
        kind of threshold.
    GeometryError
        Where an image does not show the whole structure.
    """
    require_series([image.quantity for image in images], threshold)
    ordered = sorted(images, key=lambda image: image.date)
    first = ordered[0]
    for one, next_ in pairwise(ordered):
        if one.date == next_.date:
            raise InputError(
                f"two scans are of {one.date} ({one.source}; {next_.source}); a response is told of different days"
            )
    seen = [uptake_in(image.image, structure, threshold, slice_thickness_mm) for image in ordered]
    scans = []
    for image, uptake in zip(ordered, seen, strict=True):
        change = {name: _change(vars(seen[0])[name], vars(uptake)[name]) for name in FOLLOWED}
        unlike = _unlike(first, image)
        day = None if start is None else (image.date - start).days
        repeats = None if unlike or image is first else _repeats(image.quantity, change["maximum"])
        scans.append(SeriesScan(image, uptake, day, minutes_of_uptake(image), change, unlike, repeats))
    return Series(structure.name, first.quantity, threshold, start, tuple(scans))


def require_series(quantities: Sequence[Quantity], threshold: Chosen) -> None:
    """Refuse what makes no series: fewer than two scans, several quantities or low values, another kind of threshold.

    Raises
    ------
    InputError
        Naming it.
    """
    if len(quantities) < 2:
        raise InputError(f"a response needs two scans or more; found {len(quantities)}: name each with --image")
    first = quantities[0]
    for quantity in quantities:
        if quantity.sought != "high":
            raise InputError(
                f"{quantity.id} is no uptake: its low values are sought; a response is told of PET quantities"
            )
        if quantity.id != first.id:
            raise InputError(f"a response is told of one quantity; found {first.id} and {quantity.id}")
    if threshold.method.id not in _THRESHOLDS:
        raise InputError(f"the volume of a response is told by relative=N or absolute=N; found {threshold}")


def uptake_in(image: Image, structure: Structure, threshold: Chosen, slice_thickness_mm: float) -> Uptake:
    """What an image shows in a structure; arguments and errors as in `series_of`.

    Notes
    -----
    The ball of the peak may lie anywhere as long as its middle is in the structure, and counts what it holds beyond the
    structure too.

    References
    ----------
    Wahl et al., PERCIST, J Nucl Med 2009;50 Suppl 1:122S, doi:10.2967/jnumed.108.057307, on the ball of 1 cm3.
    """
    grid = image.grid
    grid.require_same_frame(structure.frame_of_reference, f"structure '{structure.name}'")
    weight = partial_volume(structure.contours, grid, single_slice_thickness_mm=slice_thickness_mm).full()
    within = weight >= 0.5
    if not within.any():
        raise GeometryError(f"structure '{structure.name}' fills no voxel of the image: it is too small or elsewhere")
    require_reached(image, weight > 0, structure.name)
    values = np.asarray(image.values, dtype=np.float64)
    level = level_of(values[within], threshold)
    part = np.where((weight > 0) & (values >= level), weight, 0.0)
    held = float(part.sum())
    known = np.nan_to_num(values)
    volume_cm3 = held * grid.voxel_volume_cm3
    return Uptake(
        float(values[within].max()), float(np.average(known, weights=weight)), _peak(values, within, grid.spacing_mm),
        level, volume_cm3, float((part * known).sum()) * grid.voxel_volume_cm3,
    )  # fmt: skip


def minutes_of_uptake(image: FunctionalImage) -> float | None:
    """Minutes from the injection to the time of the values; None where the files do not tell."""
    told = image.facts.get(_MINUTES)
    return None if told is None else float(told)


def _peak(values: Values, within: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> float | None:
    # scipy.signal takes long to load.
    from scipy.signal import fftconvolve

    ball = _ball(spacing_mm)
    seen = np.isfinite(values)
    # Beyond the grid nothing is seen either.
    whole = fftconvolve(seen.astype(np.float64), ball, mode="same") > 1.0 - 1e-6
    means = fftconvolve(np.where(seen, values, 0.0), ball, mode="same")
    held = means[within & whole]
    return float(held.max()) if held.size else None


def _ball(spacing_mm: tuple[float, float, float]) -> Values:
    """Part of every voxel around a middle that lies in the ball of 1 cm3, as weights of a mean."""
    reach = [int(np.ceil(_BALL_MM / step + 0.5)) for step in spacing_mm]
    fine = [
        (np.arange((2 * n + 1) * _PARTS) + 0.5 - (2 * n + 1) * _PARTS / 2.0) * step / _PARTS
        for n, step in zip(reach, spacing_mm, strict=True)
    ]
    z, y, x = np.meshgrid(*fine, indexing="ij", sparse=True)
    inside = (x**2 + y**2 + z**2 <= _BALL_MM**2).astype(np.float64)
    (k, j, i) = (2 * n + 1 for n in reach)
    weights = inside.reshape(k, _PARTS, j, _PARTS, i, _PARTS).mean(axis=(1, 3, 5))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _change(first: float | None, value: float | None) -> float | None:
    return None if first is None or value is None or first <= 0 else 100.0 * (value / first - 1.0)


def _repeats(quantity: Quantity, change_percent: float | None) -> bool | None:
    """Whether a change is no larger than what repeats; known of FDG only."""
    if quantity.id != "fdg-suv" or change_percent is None:
        return None
    low, high = REPEATS_PERCENT
    return low <= change_percent <= high


def _unlike(first: FunctionalImage, image: FunctionalImage) -> tuple[str, ...]:
    """In what a scan differs so much from the first that their values do not compare."""
    if image is first:
        return ()
    told = []
    one, other = minutes_of_uptake(first), minutes_of_uptake(image)
    if one is None or other is None:
        told.append("the minutes of uptake are not known of both")
    elif abs(one - other) > UPTAKE_APART_MIN:
        told.append(
            f"{other:.0f} min of uptake against {one:.0f}; more than {UPTAKE_APART_MIN:g} min apart (EANM, recalled)"
        )
    for name in _SAME:
        was, now = first.facts.get(name), image.facts.get(name)
        if was and now and was != now:
            told.append(f"{name} {now} against {was}")
    sizes = np.array([first.own_spacing_mm, image.own_spacing_mm])
    if not np.allclose(sizes[0], sizes[1], rtol=_VOXELS_WITHIN, equal_nan=True):
        was, now = (" x ".join(f"{s:.3g}" for s in size) for size in sizes)
        told.append(f"voxels of {now} mm against {was} mm")
    return tuple(told)
