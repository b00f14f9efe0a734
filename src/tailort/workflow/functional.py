"""An image of function brought onto the planning CT: checked, registered, resampled, divided by its reference."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image, partial_volume, resample
from tailort.patient import Case, Course, FunctionalImage, FunctionalScan, RegistrationOptions, Structure
from tailort.registration import Registration
from tailort.workflow.clock import StageClock
from tailort.workflow.registering import body_of, failures, registration_of

START = "radiotherapy_start_date"
# Neighbourhood over which noise is told, in voxels of the scan (standard deviation of a Gaussian).
_NOISE_WINDOW = 2.0
# Noise of a PET is shared by neighbours over about the width of its filter; further apart than this hardly, mm.
_SHARED_MM = 12.0
_SAME_FRAME = "in the planning CT's frame of reference, not registered"
Place = Callable[[Image, Grid], Image]
_ROUND_TRIP_95 = "inverse consistency, 95th percentile [mm]"


@dataclass(frozen=True, eq=False)
class Reading:
    """Choices with which an image of function is brought onto the planning CT.

    Parameters
    ----------
    reference : str or float or None
        Of a ratio: structure of the planning CT whose mean the image is divided by, or that mean itself as a person
        measured it, SUV.
    registration : RegistrationOptions
        Where the frames of reference differ; only a CT of the image's session can bend.
    insist : bool
        Whether a registration that fails its own check is used.
    same_patient : bool
        Whether different identifiers are one patient.
    most_days : int or None
        Most days between image and planning CT that a person allows; None allows any, and the interval is told.
    during_treatment : bool
        Whether the image may be of the first day of treatment or later.
    """

    reference: str | float | None = None
    registration: RegistrationOptions = field(default_factory=lambda: RegistrationOptions(method="rigid"))
    insist: bool = False
    same_patient: bool = False
    most_days: int | None = None
    during_treatment: bool = False


def functional_image(
    case: Case,
    scan: FunctionalScan,
    clock: StageClock,
    chosen: Reading | None = None,
    *,
    grid: Grid | None = None,
    target: Structure | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> FunctionalImage:
    """Bring an image of function onto the planning CT.

    Parameters
    ----------
    case : Case
        With the planning CT; its clinical record tells when treatment starts.
    scan : FunctionalScan
        As `dicom.read_functional` gives it.
    clock : StageClock
        Times the stages.
    chosen : Reading or None
        Choices of a person.
    grid : Grid or None
        Where the image is wanted, in the planning CT's frame of reference; None takes the planning CT's own.
    target : Structure or None
        Where the uncertainty of the place is told; None tells it of the body.
    stop : callable
        Whether a person wants to stop.

    Returns
    -------
    FunctionalImage
        `image` and `noise` on the grid, trilinear between the scan's own voxels and not a number where the scan does
        not reach; `uncertainty_mm` of the place, `registered` how it was brought there, `days_before_ct`, `notes`.

    Raises
    ------
    InputError
        When it is another patient's, of a day that was not allowed, needs a reference that is not told, or its
        registration fails.
    StoppedError
        When a person stopped it.

    Notes
    -----
    In one frame of reference nothing is registered, and how far the patient moved between the images is not known. Else
    the CT of the image's session is registered with the planning CT; without one the image itself is, by mutual
    information, and the uncertainty is what its way there and back leaves: the 95th percentile of the round trip over
    the square root of 2, at least.
    """
    chosen = chosen or Reading()
    if not chosen.same_patient:
        _require_same_patient(case, scan)
    days, notes = _days(case, scan, chosen)
    on = case.ct.image.grid if grid is None else grid
    on.require_same_frame(case.ct.image.grid.frame_of_reference, "the grid for a functional image")
    own = scan.scan.image
    noise = own.with_values(local_noise(own.values, own.grid.spacing_mm))
    unsure: float | None = None
    place: Place
    if own.grid.frame_of_reference == on.frame_of_reference:
        place, registered, unsure = partial(resample, outside=np.nan), _SAME_FRAME, None
        notes.append("how far the patient moved between the image and the planning CT is not known")
    else:
        found = _registration(case, scan, chosen, clock, stop, notes)
        place, registered = partial(found.map_image, outside=np.nan), found.method
        unsure = _unsure_mm(found, case, target)
    unit, (mean, told) = scan.quantity.unit, _reference(scan, case, chosen.reference, place)
    image, spread = (
        Image(on, np.asarray(part.values / np.float32(mean), dtype=np.float32), unit)
        for part in (place(own, on), place(noise, on))
    )
    if not np.isfinite(image.values).any():
        raise InputError(f"{scan.source} does not reach the planning CT: no voxel of it lies there")
    facts = {**scan.facts, f"SUV of {scan.quantity.reference}": told} if told else scan.facts
    return FunctionalImage(
        scan.quantity, image, scan.date, scan.source, spread, own.grid.spacing_mm, registered, unsure, days, facts,
        (*scan.notes, *notes),
    )  # fmt: skip


def local_noise(values: NDArray[np.floating], spacing_mm: tuple[float, float, float]) -> NDArray[np.float32]:
    """Standard deviation of single voxels' noise around every voxel, in the unit of the values.

    Parameters
    ----------
    values : (k, j, i) float
        On the voxels of the scan itself: where it was interpolated its noise is less.
    spacing_mm : (3,) float
        Of these voxels, mm.

    Notes
    -----
    Second differences along all three axes, one after the other, leave nothing of an image that is smooth over three
    voxels; of noise of standard deviation s without correlation they leave s times the square root of 6 x 6 x 6. Noise
    that neighbours share is seen less: what is left is raised by what the same differences over 12 mm find more, as the
    median over the brighter half of the image, where most tissue is even. Noise that is alike over more than 12 mm is
    not seen.

    References
    ----------
    Immerkaer, Comput Vis Image Underst 1996;64:300 (the same in two dimensions), doi:10.1006/cviu.1996.0060.
    """
    image = np.asarray(values, dtype=np.float32)
    near = _second_differences(image, (1, 1, 1))
    far = _second_differences(image, tuple(max(1, int(np.ceil(_SHARED_MM / s - 1e-6))) for s in spacing_mm))
    bright = image > image.mean()
    seen = (np.median(np.abs(each[bright])) if bright.any() else 0.0 for each in (near, far))
    shared, whole = (float(each) for each in seen)
    raised = max(1.0, whole / shared) if shared > 0 else 1.0
    spread = np.sqrt(ndimage.gaussian_filter(near**2, _NOISE_WINDOW, mode="nearest") / 6.0**3)
    return np.asarray(spread * np.float32(raised), dtype=np.float32)


def _second_differences(image: NDArray[np.float32], voxels: tuple[int, ...]) -> NDArray[np.float32]:
    """Second differences along all axes, one after the other, over so many voxels."""
    for axis, step in enumerate(voxels):
        weights = np.zeros(2 * step + 1)
        weights[[0, step, -1]] = 1.0, -2.0, 1.0
        image = ndimage.correlate1d(image, weights, axis=axis, mode="nearest")
    return image


def _require_same_patient(case: Case, scan: FunctionalScan) -> None:
    if scan.patient_id and case.pseudonym and scan.patient_id != case.pseudonym:
        raise InputError(
            f"the {scan.scan.modality} is of patient '{scan.patient_id}', the planning CT of '{case.pseudonym}'; if "
            "they are the same person say so with --same-patient"
        )


def _days(case: Case, scan: FunctionalScan, chosen: Reading) -> tuple[int | None, list[str]]:
    """Days from the image to the planning CT, and what is to be told of them."""
    fact = case.facts.get(START)
    start = fact.value if fact is not None else None
    if isinstance(start, dt.date) and scan.date >= start and not chosen.during_treatment:
        raise InputError(
            f"the {scan.scan.modality} is of {scan.date} and treatment starts on {start}, so it shows a tumour that is "
            "being treated; say --during-treatment if that is meant"
        )
    try:
        planned = dt.datetime.strptime(case.person.study_date, "%Y%m%d").date()
    except ValueError:
        if chosen.most_days is not None:
            raise InputError(
                f"the planning CT has no StudyDate, so whether the {scan.scan.modality} of {scan.date} is within "
                f"{chosen.most_days} days of it cannot be told"
            ) from None
        return None, [f"the {scan.scan.modality} is of {scan.date}, the planning CT of an unknown day"]
    days = (planned - scan.date).days
    when = f"{abs(days)} day(s) {'before' if days > 0 else 'after'}" if days else "on the day of"
    if chosen.most_days is not None and abs(days) > chosen.most_days:
        raise InputError(
            f"the {scan.scan.modality} of {scan.date} was made {when} the planning CT of {planned}; at most "
            f"{chosen.most_days} day(s) were allowed"
        )
    return days, [f"the {scan.scan.modality} was made {when} the planning CT ({scan.date}, {planned})"]


def _registration(
    case: Case, scan: FunctionalScan, chosen: Reading, clock: StageClock, stop: Callable[[], bool], notes: list[str]
) -> Registration:
    """From the planning CT's frame of reference to the image's, as good as its check asks."""
    alike = scan.companion is not None
    if not alike and chosen.registration.method != "rigid":
        raise InputError(
            f"a {scan.scan.modality} cannot be bent onto a CT; add the CT of its session to its folder, or register "
            "rigidly"
        )
    label = scan.scan.description or f"the {scan.scan.modality}"
    shown = scan.companion or scan.scan
    course = Course(label, shown, None, (), registration=chosen.registration)
    found = registration_of(case, course, clock, stop, "correlation" if alike else "mutual information")
    failed = failures(found)
    if failed and not chosen.insist:
        raise InputError(
            f"the registration of {label} with the planning CT fails its own check ({'; '.join(failed)}); look at it "
            "with tailort register, or say --insist, which the report then tells first"
        )
    if failed:
        notes.append(
            f"the registration fails its own check ({'; '.join(failed)}); it was used because a person insisted"
        )
    by = "the CT of its session" if alike else "the image itself"
    return replace(found, method=f"{found.method}; by {by}")


def _unsure_mm(found: Registration, case: Case, target: Structure | None) -> float | None:
    """Standard deviation of a place in the target, else the body, mm."""
    if found.uncertainty is not None:
        grid = found.uncertainty.grid
        if target is None:
            body = Image(case.ct.image.grid, body_of(case).astype(np.float32), "1")
            weight = np.nan_to_num(resample(body, grid, 0.0).values)
        else:
            weight = partial_volume(target.contours, grid, single_slice_thickness_mm=grid.spacing_mm[0]).full()
        if weight.sum() > 0:
            return float(np.sqrt(np.average(np.asarray(found.uncertainty.values) ** 2, weights=weight)))
    measures = () if found.quality is None else found.quality.measures
    trip = next((m.value for m in measures if m.name == _ROUND_TRIP_95), None)
    return None if trip is None else trip / np.sqrt(2.0)


def _reference(scan: FunctionalScan, case: Case, reference: str | float | None, place: Place) -> tuple[float, str]:
    """What a ratio is divided by, and how it was found; 1 and nothing of anything else."""
    quantity, tissue = scan.quantity, scan.quantity.reference
    if not tissue:
        if reference is not None:
            raise InputError(f"{quantity.id} is no ratio, so it takes no reference; leave --reference out")
        return 1.0, ""
    if reference is None:
        raise InputError(
            f"{quantity.id} is a ratio: name a structure that shows {tissue} with --reference, or give its SUV"
        )
    if isinstance(reference, str):
        mean, told = _mean_in(scan, case, case.structures[reference], place), f"mean of {reference}"
    else:
        mean, told = float(reference), "told by a person"
    if not (np.isfinite(mean) and mean > 0):
        raise InputError(f"the SUV of {tissue} has to be above 0 to divide by it; found {mean:g} ({told})")
    return mean, f"{mean:.4g}, {told}"


def _mean_in(scan: FunctionalScan, case: Case, structure: Structure, place: Place) -> float:
    """Mean of an image over a structure that it has to show whole."""
    if structure.is_empty:
        raise InputError(f"structure '{structure.name}' has no contours, so it is no reference; name another one")
    whole = case.ct.image.grid
    index = whole.to_index(np.stack(structure.bounds_mm()))
    grid = whole.crop(np.floor(index.min(axis=0)) - 1, np.ceil(index.max(axis=0)) + 2)
    image = place(scan.scan.image, grid)
    weight = partial_volume(structure.contours, grid, single_slice_thickness_mm=grid.spacing_mm[0]).full()
    require_reached(image, weight > 0, structure.name)
    return float(np.average(np.nan_to_num(image.values), weights=weight))


def require_reached(image: Image, within: NDArray[np.bool_], called: str) -> None:
    """Refuse a structure that an image does not show whole.

    Raises
    ------
    GeometryError
        Telling how much of it lies beyond.
    """
    missing = float(np.mean(~np.isfinite(image.values[within]))) if within.any() else 0.0
    if missing:
        raise GeometryError(
            f"the functional image does not reach {100 * missing:.1f} % of '{called}'; what it shows of the rest would "
            "be taken for the whole"
        )


def notes_of(image: FunctionalImage) -> Sequence[str]:
    """What a report tells of an image of function: how it was made, when, and how it lies."""
    unsure = "unknown" if image.uncertainty_mm is None else f"{image.uncertainty_mm:.1f} mm (1 standard deviation)"
    return (image.source, f"{image.registered}; how far a place is known: {unsure}", *image.notes)
