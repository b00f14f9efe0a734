"""Today's CT brought into register with another scan, and a dose of that scan mapped onto today's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.evaluation import DEFAULT_METRICS, DVH, histograms
from tailort.geometry import Grid, Image, resample
from tailort.patient import Case, Course, Dose, RegistrationOptions, Scan
from tailort.registration import Registration
from tailort.registration.turn_and_shift import Metric
from tailort.workflow.clock import StageClock
from tailort.workflow.registering import body_of, failures, registration_of

PERCENTILES = (5, 50, 95)
# Voxels on which it is first seen where a dose reaches, mm; finer voxels of a mapped dose than this say no more.
_COARSE_MM, _FINEST_MM = 8.0, 1.0


@dataclass(frozen=True)
class MappedMetric:
    """One metric of a mapped dose: its lowest and highest value, which differ where the dose is not known.

    Parameters
    ----------
    structure, metric : str
        Such as "Esophagus", "D1cc[Gy]".
    low, high : float
        In the metric's unit, physical Gy per course; an infinite `high` has no bound.
    """

    structure: str
    metric: str
    low: float
    high: float

    def as_dict(self) -> dict[str, Any]:
        """As JSON; a bound that is not there is null."""
        high = self.high if np.isfinite(self.high) else None
        return {"structure": self.structure, "metric": self.metric, "low": self.low, "high": high}


@dataclass(frozen=True, eq=False)
class MappedDose:
    """A dose of the other scan as it lies in the patient of today.

    Parameters
    ----------
    label : str
        For people.
    dose : Dose
        Physical, Gy per course, in today's frame of reference; not a number where it is not known.
    whole : Dose or None
        The part of it, an axial block, in which it is known everywhere: what DICOM can hold. None where there is none.
    cut_off_gy : float
        Highest dose that is known and lies outside of that block.
    metrics : tuple of MappedMetric
        Of today's structures.
    dvhs : tuple of DVH
        Of today's structures.
    """

    label: str
    dose: Dose
    whole: Dose | None
    cut_off_gy: float
    metrics: tuple[MappedMetric, ...]
    dvhs: tuple[DVH, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "label": self.label,
            "fractions": self.dose.fractions,
            "highest_gy": float(np.nanmax(self.dose.image.values)),
            "cut_off_gy": self.cut_off_gy,
            "metrics": [metric.as_dict() for metric in self.metrics],
        }


@dataclass(frozen=True, eq=False)
class Alignment:
    """Today's CT and another scan, brought into register.

    Parameters
    ----------
    case : Case
        Of today.
    label : str
        What the other scan is called.
    scan : Scan
        The other one.
    registration : Registration
        From today's frame of reference to the other, measured.
    doses : tuple of MappedDose
        Of the other scan, where they were asked for.
    uncertainty_mm : dict of int to float
        By percentile over today's body; empty where it is not known.
    notes : tuple of str
        What was noticed while reading and mapping.
    """

    case: Case
    label: str
    scan: Scan
    registration: Registration
    doses: tuple[MappedDose, ...]
    uncertainty_mm: dict[int, float]
    notes: tuple[str, ...]

    @property
    def failed(self) -> list[str]:
        """What of the registration lies beyond its limit, in words."""
        return failures(self.registration)

    def as_dict(self) -> dict[str, Any]:
        """As registration.json."""
        found, quality = self.registration, self.registration.quality
        assert quality is not None
        return {
            "other": self.label,
            "modality": self.scan.modality,
            "method": found.method,
            "from_frame": found.from_frame,
            "to_frame": found.to_frame,
            "deformable": not found.is_rigid,
            "matrix": np.asarray(found.rigid.affine).tolist(),
            "verdict": quality.verdict,
            "measures": [
                {
                    "name": m.name, "value": m.value if np.isfinite(m.value) else None, "operator": m.operator or None,
                    "limit": m.limit, "verdict": m.verdict, "source": m.source or None,
                }
                for m in quality.measures
            ],
            "uncertainty_mm": {f"p{percentile}": value for percentile, value in self.uncertainty_mm.items()} or None,
            "doses": [dose.as_dict() for dose in self.doses],
        }  # fmt: skip


def align(
    case: Case,
    other: Case,
    label: str,
    chosen: RegistrationOptions,
    clock: StageClock,
    *,
    metric: Metric | None = None,
    with_dose: bool = False,
    insist: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Alignment:
    """Register today's CT with the first scan of another case, measure that, and map the other's doses where asked.

    Parameters
    ----------
    case, other : Case
        Of today, and of another day or another kind of images.
    label : str
        What the other one is called.
    chosen : RegistrationOptions
        How; an MR or a PET can only turn and shift.
    clock : StageClock
        Times the stages.
    metric : {"correlation", "mean squares", "mutual information"} or None
        What is compared for the turn and shift; None takes correlation for CT with CT, else mutual information.
    with_dose : bool
        Whether doses of the other scan are mapped onto today's frame.
    insist : bool
        Whether doses are mapped by a registration that fails its own check.
    stop : callable
        Whether a person wants to stop.

    Raises
    ------
    InputError
        When both are in one frame of reference, do not overlap, what was chosen does not go with the images, or there
        is no dose to map.
    StoppedError
        When a person stopped it.
    """
    scan, today = other.scans[0], case.ct.image
    if scan.image.grid.frame_of_reference == today.grid.frame_of_reference:
        raise InputError(
            f"today's CT and {label} lie in one frame of reference, so points of one are points of the other and there "
            "is nothing to register; a dose of one can be evaluated on the other as it is"
        )
    if scan.modality != "CT" and chosen.method != "rigid":
        raise InputError(
            f"{label} is a {scan.modality}, which deformable registration cannot compare with a CT; leave --deformable "
            "out"
        )
    alike = scan.modality == "CT"
    if metric is not None and metric != "mutual information" and not alike:
        raise InputError(
            f"{metric} compares scans of one kind, and {label} is a {scan.modality}; use mutual information"
        )
    if with_dose and not other.doses:
        raise InputError(f"{label} has no RTDOSE to map; add it to its folder, or leave --dose out")
    course = Course(label, scan, other.structures, (), registration=chosen)
    found = registration_of(case, course, clock, stop, metric or ("correlation" if alike else "mutual information"))
    notes = [*case.notes, *(f"{label}: {note}" for note in other.notes)]
    doses: tuple[MappedDose, ...] = ()
    if with_dose and failures(found) and not insist:
        notes.append(
            f"the dose of {label} was not mapped: the registration fails its own check; look at the scans, or say "
            "--insist"
        )
    elif with_dose:
        with clock.stage("map the dose") as tell:
            mapped = []
            for n, dose in enumerate(other.doses, 1):
                called = f"dose {n} of {label}" if len(other.doses) > 1 else f"dose of {label}"
                mapped.append(map_dose(case, dose, found, called))
                tell(n / len(other.doses))
        doses = tuple(mapped)
        notes += [note for dose in doses for note in _about(dose)]
    return Alignment(case, label, scan, found, doses, _percentiles(case, found), tuple(notes))


def map_dose(case: Case, dose: Dose, found: Registration, label: str) -> MappedDose:
    """Bring a dose of another scan onto today's CT, with what it gives today's structures.

    Parameters
    ----------
    case : Case
        Of today.
    dose : Dose
        In the other frame of reference; its values are kept, nothing is converted.
    found : Registration
        From today's frame of reference to that of the dose.
    label : str
        What the dose is called.

    Raises
    ------
    InputError
        When the dose does not reach today's CT.
    """
    given = dose.per_course()
    grid = _reached(case.ct.image.grid, given.image, found)
    if grid is None:
        raise InputError(f"the {label} does not reach today's CT: no voxel of it lies there")
    values = found.map_image(given.image, grid, np.nan).values
    # Between two grids interpolation can undershoot 0 by rounding only.
    image = Image(grid, np.maximum(values, 0.0), "Gy")
    mapped = replace(given, image=image)
    known = np.isfinite(image.values)
    low, high = known_block(known)
    whole, cut_off = None, float(np.nanmax(image.values))
    if (high > low).all():
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        whole = replace(mapped, image=Image(grid.crop(low, high), np.ascontiguousarray(image.values[part]), "Gy"))
        outside = known.copy()
        outside[part] = False
        cut_off = float(image.values[outside].max()) if outside.any() else 0.0
    thick = case.ct.image.grid.spacing_mm[0]
    curves = histograms(case.structures, mapped, single_slice_thickness_mm=thick)
    rows = [row for name, curve in curves.items() for row in _metrics(name, curve)]
    return MappedDose(label, mapped, whole, cut_off, tuple(rows), tuple(curves.values()))


def _metrics(name: str, curve: DVH) -> list[MappedMetric]:
    """Metrics that the structure has: a small one has no hottest 1 cm3."""
    rows = []
    for metric in DEFAULT_METRICS:
        try:
            low, high = curve.bounds(metric)
        except InputError:
            continue
        rows.append(MappedMetric(name, metric, float(low), float(high)))
    return rows


def _about(mapped: MappedDose) -> list[str]:
    """What a reader must know of a mapped dose beside its numbers."""
    if mapped.whole is None:
        return [f"the {mapped.label} has no axial block in which it is known everywhere, so no RTDOSE of it is written"]
    notes = [
        f"the {mapped.label} was mapped as it is, physical Gy per course; the RTDOSE holds the block in which it is "
        f"known everywhere, and of what lies outside the highest dose is {mapped.cut_off_gy:.2f} Gy"
    ]
    if not mapped.dose.plan_uid:
        notes.append(f"the {mapped.label} names no plan, which an RTDOSE has to do, so none of it is written")
    return notes


def _reached(today: Grid, dose: Image, found: Registration) -> Grid | None:
    """Axial grid over the part of today's CT that a dose reaches, in voxels about as fine as the dose's own."""
    coarse = today.with_spacing(np.maximum(_COARSE_MM, today.spacing_mm))
    held = np.argwhere(np.isfinite(found.map_image(dose, coarse, np.nan).values))
    if not len(held):
        return None
    part = coarse.crop(held.min(axis=0) - 1, held.max(axis=0) + 2)
    fine = part.with_spacing(max(_FINEST_MM, min(dose.grid.spacing_mm)))
    # A grid of whole coarse voxels may reach beyond the CT, by less than one of them.
    low, high = today.faces_mm()
    index = fine.to_index(np.stack([low, high]))
    first, last = np.ceil(index.min(axis=0) - 1e-6), np.floor(index.max(axis=0) + 1e-6)
    return fine.crop(first, last + 1)


def known_block(known: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one past the last voxel of a block that is known everywhere: its worst face goes, again and again.

    Parameters
    ----------
    known : (k, j, i) bool
        Where a value is known.

    Returns
    -------
    low, high : (3,) int
        Nothing is left where `high` is not above `low` along every direction.
    """
    low, high = np.zeros(3, dtype=np.int64), np.array(known.shape, dtype=np.int64)
    while (high > low).all():
        block = known[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        shares = []
        for axis in range(3):
            for end in (0, -1):
                shares.append((float(1.0 - np.take(block, end, axis=axis).mean()), axis, end))
        worst, axis, end = max(shares, key=lambda one: one[0])
        if worst == 0.0:
            if block.all():
                break
            # A hole within: the face that lies nearest to it goes.
            hole = np.argwhere(~block)[0]
            room = np.array(block.shape) - 1 - hole
            nearest = [(int(room[a]), a, -1) for a in range(3)] + [(int(hole[a]), a, 0) for a in range(3)]
            _, axis, end = min(nearest)
        if end == 0:
            low[axis] += 1
        else:
            high[axis] -= 1
    return low, high


def _percentiles(case: Case, found: Registration) -> dict[int, float]:
    """Percentiles of the uncertainty over today's body, mm."""
    if found.uncertainty is None:
        return {}
    body = Image(case.ct.image.grid, body_of(case).astype(np.float32), "1")
    within = resample(body, found.uncertainty.grid, 0.0).values >= 0.5
    if not within.any():
        return {}
    values = found.uncertainty.values[within]
    return {percentile: float(np.percentile(values, percentile)) for percentile in PERCENTILES}
