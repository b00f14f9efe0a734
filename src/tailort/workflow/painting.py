"""Prescriptions painted by an image of function, and the plan of the same mean dose that they are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import GeometryError, InputError
from tailort.evaluation.painting import painting_quality
from tailort.geometry import Grid, Image, partial_volume, resample
from tailort.patient import Dose, FunctionalImage, Painted, Prescription, Quantity, Structure, StructureSet
from tailort.protocols import Protocol
from tailort.protocols.painting import PaintedEntry, painting_in_words
from tailort.protocols.schema import PrescriptionEntry
from tailort.radiobiology.tumour_control import Tumour, tcp_poisson
from tailort.targets import Step
from tailort.targets.painting import (
    Range,
    Shape,
    by_numbers,
    extended,
    falling,
    line,
    percentile_in,
    power,
    sigmoid,
    smoothed,
    step,
    with_mean,
    without_blur,
)
from tailort.workflow.parts import part_around
from tailort.workflow.records import PaintedTarget, PlanResult
from tailort.workflow.requesting import Request

# Union of the painted structures, where there are several.
UNION = "GTV_Paint"
# A voxel belongs to a structure that has at least this share of it.
HALF = 0.5
UNIFORM = "Same mean dose everywhere"

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def painted_names(painted: PaintedEntry, structures: StructureSet) -> tuple[str, ...]:
    """Structures that are painted in this patient."""
    drawn = [s for name in (*painted.of, *painted.if_drawn) if (s := structures.find(name)) is not None]
    return tuple(s.name for s in drawn if not s.is_empty)


def painting_steps(protocol: Protocol, structures: StructureSet) -> tuple[Step, ...]:
    """Steps that unite what is painted, where it is more than one structure."""
    found = []
    for entry in protocol.painted():
        names = painted_names(_painted(entry), structures)
        if len(names) > 1:
            found.append(Step(UNION, "GTV", names, rules=_painted(entry).rules))
    return tuple(found)


def painted_request(
    request: Request,
    protocol: Protocol,
    structures: StructureSet,
    images: Mapping[str, FunctionalImage],
    slice_mm: float,
) -> tuple[Request, Request | None]:
    """Return a request with its painted doses, and one with the same mean dose everywhere; None where none is painted.

    Parameters
    ----------
    request : Request
        Of the protocol; painted targets have their least dose.
    protocol : Protocol
        As it is for this patient.
    structures : StructureSet
        With those of `painting_steps`.
    images : mapping of str to FunctionalImage
        Of function, by the name of the quantity, in the frame of reference of the planning CT.
    slice_mm : float
        Distance of the CT's planes.

    Raises
    ------
    InputError
        When an image that the protocol names is not given.
    GeometryError
        When it does not cover what is painted.
    """
    entries = protocol.painted()
    if not entries:
        return request, None
    painted, even = dict[str, Prescription](), dict[str, Prescription]()
    for entry in entries:
        for own in _own(entry, request.prescriptions, structures):
            painted[own.target] = _prescribed(own, entry, protocol, structures, images, slice_mm)
            even[own.target] = _flat(painted[own.target])
    flat = replace(
        _with(request, even), title=f"{UNIFORM}, compared with {request.title}", label="comparator", supplements=()
    )
    return _with(request, painted), flat


def judge_painting(
    results: Sequence[PlanResult],
    structures: StructureSet,
    images: Mapping[str, FunctionalImage],
    protocol: Protocol,
    slice_mm: float,
) -> tuple[PaintedTarget, ...]:
    """Hold every plan of a run against the painted doses of the first.

    Parameters
    ----------
    results : sequence of PlanResult
        The painted plan first.
    structures, images, protocol, slice_mm
        As of `painted_request`.
    """
    found = []
    for entry in protocol.painted():
        own = _own(entry, results[0].prescriptions, structures)[0]
        assert own.painted is not None
        structure = structures[own.tied_to]
        qualities = tuple(
            (result.label, painting_quality(phase.dose, own.painted, structure, slice_mm))
            for result in results
            for phase in result.phases
            if phase.number == entry.phase
        )
        image = images[_painted(entry).image]
        found.append(PaintedTarget(entry.target, structure.name, own.painted, image, qualities))
    return tuple(found)


def true_control(dose: Dose, alpha_per_gy: Image, clonogens_per_cm3: Image, alpha_beta_gy: float) -> float:
    """Tumour control by a dose of a tumour whose biology is known everywhere, 0 to 1 (Poisson, LQ).

    Parameters
    ----------
    dose : Dose
        Physical, of the course with its fractions.
    alpha_per_gy, clonogens_per_cm3 : Image
        alpha of LQ and density of clonogenic cells (0 beyond the tumour), on one grid in the dose's frame of reference.
    alpha_beta_gy : float
        alpha/beta, Gy.

    Raises
    ------
    InputError
        When the number of fractions is unknown, or the dose does not cover the tumour.
    """
    grid = clonogens_per_cm3.grid
    cells = clonogens_per_cm3.values.reshape(-1).astype(np.float64) * grid.voxel_volume_cm3
    held = cells > 0
    seen_gy = resample(dose.image, grid, np.nan).values.reshape(-1)[held].astype(np.float64)
    if dose.fractions is None or not np.isfinite(seen_gy).all():
        raise InputError("tumour control needs the number of fractions, and a dose in the whole tumour")
    alpha = alpha_per_gy.values.reshape(-1)[held].astype(np.float64)
    return tcp_poisson(seen_gy, dose.fractions, Tumour(cells[held], alpha, alpha_beta_gy))


def _own(
    entry: PrescriptionEntry, prescriptions: Sequence[Prescription], structures: StructureSet
) -> tuple[Prescription, ...]:
    """What stands for a painted entry: its target, or in a robust plan what is painted inside of it."""
    names = {entry.target, *painted_names(_painted(entry), structures)}
    return tuple(p for p in prescriptions if p.target in names and p.phase == entry.phase)


def _with(request: Request, painted: Mapping[str, Prescription]) -> Request:
    def put(prescriptions: Sequence[Prescription]) -> tuple[Prescription, ...]:
        return tuple(painted.get(p.target, p) for p in prescriptions)

    return replace(request, prescriptions=put(request.prescriptions), course=put(request.course))


def _prescribed(
    own: Prescription, entry: PrescriptionEntry, protocol: Protocol, structures: StructureSet,
    images: Mapping[str, FunctionalImage], slice_mm: float,
) -> Prescription:  # fmt: skip
    painted = _painted(entry)
    if painted.image not in images:
        have = ", ".join(images) or "none"
        raise InputError(
            f"protocol '{protocol.id}' paints the dose of '{own.target}' by {painted.image}, and the images given are: "
            f"{have}; name its folder with --image"
        )
    names = painted_names(painted, structures)
    if not names:
        wanted = ", ".join((*painted.of, *painted.if_drawn))
        raise InputError(f"protocol '{protocol.id}' paints in {wanted}, and none of them is drawn")
    tied = names[0] if len(names) == 1 else UNION
    uptake = images[painted.image]
    part = part_around(uptake.image.grid, [structures[own.target], structures[tied]])
    seen = resample(uptake.image, part, np.nan).values.astype(np.float64)
    volume = _share(structures[tied], part, slice_mm)
    if not (volume >= HALF).any():
        raise GeometryError(f"'{tied}' has no voxel of the image of {painted.image}; it is too small to be painted")
    dose_gy = _dose_gy(
        seen, volume, _near(painted, structures, part, slice_mm), part.spacing_mm, entry, uptake.quantity
    )
    image = Image(part, extended(dose_gy, volume >= HALF, part.spacing_mm).astype(np.float32), "Gy")
    mean_gy = round(float(np.average(image.values, weights=volume)), 2)
    text = painting_in_words(entry.dose_gy, painted)
    return replace(
        own,
        dose_gy=mean_gy,
        normalisation=replace(own.normalisation, structure=tied),
        painted=Painted(image, entry.dose_gy, painted.most_gy, text),
    )


def _dose_gy(
    seen: Float,
    volume: Float,
    near: Bool,
    spacing_mm: tuple[float, float, float],
    entry: PrescriptionEntry,
    quantity: Quantity,
) -> Float:
    """Dose of every voxel that is to be painted, Gy; elsewhere the least."""
    painted = _painted(entry)
    inside = volume >= HALF
    reference = percentile_in(seen, inside, painted.percentile)
    smooth = smoothed(seen, inside, painted.smooth_mm, spacing_mm)
    if painted.point_spread_mm > 0.0:
        smooth = without_blur(seen, volume, inside, painted.point_spread_mm, painted.smooth_mm, spacing_mm)
        reference = percentile_in(smooth, inside, painted.percentile)
    if not reference > 0:
        raise GeometryError(
            f"the {painted.percentile:g}th percentile of {painted.image} is {reference:g}: nothing can be painted by it"
        )
    within = Range(entry.dose_gy, painted.most_gy, painted.low * reference, painted.high * reference)
    dose_gy = np.full(seen.shape, entry.dose_gy)
    chosen = inside & ~near
    shape = _shape(painted)
    dose_gy[chosen] = by_numbers(smooth[chosen], within, shape if quantity.sought == "high" else falling(shape))
    if painted.mean_gy is not None:
        whole, free = float(volume.sum()), float(volume[chosen].sum())
        rest_gy = (painted.mean_gy * whole - entry.dose_gy * (whole - free)) / max(free, 1e-9)
        dose_gy[chosen] = with_mean(dose_gy[chosen], volume[chosen], rest_gy, within)
    return dose_gy


def _shape(painted: PaintedEntry) -> Shape:
    match painted.map:
        case "linear":
            return line
        case "power":
            return power(_given(painted.exponent))
        case "sigmoid":
            return sigmoid(_given(painted.steepness))
        case "contours":
            # The threshold is a share of the percentile, as the ends are.
            return step((_given(painted.threshold) - painted.low) / (painted.high - painted.low))
        case _:
            assert_never(painted.map)


def _given(number: float | None) -> float:
    assert number is not None  # the entry has seen to it
    return number


def _painted(entry: PrescriptionEntry) -> PaintedEntry:
    assert entry.painted is not None
    return entry.painted


def _near(painted: PaintedEntry, structures: StructureSet, part: Grid, slice_mm: float) -> Bool:
    """Voxels so near to an organ that nothing is painted there."""
    near = np.zeros(part.shape, dtype=bool)
    for away in painted.away_from:
        organ = structures.find(away.structure)
        if organ is None or organ.is_empty:
            raise InputError(f"nothing is to be painted within {away.margin_mm:g} mm of '{away.structure}': draw it")
        inside = _share(organ, part, slice_mm) >= HALF
        if inside.any():
            near |= ndimage.distance_transform_edt(~inside, sampling=part.spacing_mm) <= away.margin_mm
    return near


def _share(structure: Structure, part: Grid, slice_mm: float) -> Float:
    """Part of every voxel that lies in a structure."""
    found = partial_volume(structure.contours, part, single_slice_thickness_mm=slice_mm)
    return found.full().astype(np.float64)


def _flat(painted: Prescription) -> Prescription:
    """The same mean dose everywhere."""
    assert painted.painted is not None
    own = painted.painted
    image = own.image.with_values(np.full(own.image.grid.shape, painted.dose_gy, dtype=np.float32))
    return replace(painted, painted=replace(own, image=image, text=f"{painted.dose_gy:g} Gy everywhere"))
