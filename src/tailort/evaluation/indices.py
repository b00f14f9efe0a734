"""Indices of a plan: how well the high dose fits the target, how even it is, how fast it falls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from tailort.errors import GeometryError, InputError
from tailort.evaluation.dvh import DVH, histograms
from tailort.evaluation.scorecard import DECIMALS, Row, Verdict
from tailort.geometry import interpolate, unite
from tailort.patient import Dose, Prescription, Structure, StructureSet
from tailort.patient.prescription import levels_gy

INDICES = PADDICK, RTOG, GRADIENT, HOMOGENEITY = "CI(Paddick)", "CI(RTOG)", "GI(Paddick)", "HI(ICRU83)"
"""What the indices are called in a scorecard; none has a unit, and none is a `Metric`."""
_PARTS = 5
_CHUNK = 20_000


def _with_higher_levels(
    structures: StructureSet, levels: Mapping[str, float], single_slice_thickness_mm: float | None
) -> tuple[Structure, ...]:
    """Each target of a lower dose level together with the targets of all higher ones, under its name."""
    drawn = {name: found for name in levels if (found := structures.find(name)) is not None and not found.is_empty}
    wholes = []
    for name, target in drawn.items():
        contours = target.contours
        for higher in (drawn[other] for other in drawn if levels[other] > levels[name]):
            planes = np.unique([contour[0, 2] for contour in (*contours, *higher.contours)])
            contours = unite(contours, higher.contours, planes, single_slice_thickness_mm=single_slice_thickness_mm)
        if contours is not target.contours:
            wholes.append(replace(target, contours=contours))
    return tuple(wholes)


def index_rows(
    structures: StructureSet,
    curves: Mapping[str, DVH],
    dose: Dose,
    prescriptions: Sequence[Prescription],
    single_slice_thickness_mm: float | None = None,
) -> tuple[Row, ...]:
    """Indices of every target with one dose, as rows of a scorecard that nothing is asked of.

    Parameters
    ----------
    structures : StructureSet
        With the targets.
    curves : mapping of str to DVH
        Physical dose of the course, by structure.
    dose : Dose
        The same dose.
    prescriptions : sequence of Prescription
        Of the course; phases of one target are added up.
    single_slice_thickness_mm : float or None
        Thickness of a structure that is drawn in a single plane.

    Returns
    -------
    tuple of Row
        Conformity and gradient of each dose level; homogeneity of the highest only, because a lower one has the rise
        to the next in it. Painted targets have no single dose and no index. An index that has no value is unknown,
        with the reason. The isodose of a lower level holds the higher targets too, so its conformity is about all of
        them, inside of its own target or beside it.
    """
    levels = levels_gy(prescriptions)
    united = _with_higher_levels(structures, levels, single_slice_thickness_mm)
    wholes = histograms(united, dose, single_slice_thickness_mm=single_slice_thickness_mm)
    highest_gy = max(levels.values(), default=0.0)
    painted = {p.tied_to for p in prescriptions if p.painted is not None}
    return tuple(
        row
        for target, level_gy in levels.items()
        if target in curves and target not in painted
        for row in _rows_of(curves[target], wholes.get(target), dose, level_gy, level_gy == highest_gy)
    )


def _rows_of(target: DVH, whole: DVH | None, dose: Dose, level_gy: float, is_highest: bool) -> Iterator[Row]:
    volume_cm3 = cache(partial(isodose_volume_cm3, dose))
    aimed = target if whole is None else whole
    asked: dict[str, Callable[[], float]] = {
        PADDICK: lambda: paddick_conformity_index(aimed, volume_cm3(level_gy), level_gy),
        RTOG: lambda: rtog_conformity_index(aimed, volume_cm3(level_gy)),
        GRADIENT: lambda: gradient_index(volume_cm3(level_gy / 2), volume_cm3(level_gy)),
    }
    if is_highest:
        asked[HOMOGENEITY] = lambda: homogeneity_index(target)
    source = f"index of {target.structure} at {level_gy:g} Gy"
    if whole is not None:
        source += ", together with the targets of higher doses"
    for name, index in asked.items():
        try:
            value, reason = round(index(), DECIMALS), ""
        except InputError as error:
            value, reason = None, str(error)
        verdict: Verdict = "report" if value is not None else "unknown"
        yield Row(
            target.structure, name, "physical", "course", value, None, None, "report", verdict, source, reason=reason
        )


def paddick_conformity_index(target: DVH, isodose_cm3: float, prescription_gy: float) -> float:
    """Paddick conformity index, TV_PIV^2 / (TV PIV); 1 is perfect.

    Parameters
    ----------
    target : DVH
        Of the target.
    isodose_cm3 : float
        Volume of the whole prescription isodose, cm3; see `isodose_volume_cm3`.
    prescription_gy : float
        Prescribed dose, in the quantity of the histogram.

    Returns
    -------
    float
        0 when nothing gets the prescribed dose.

    References
    ----------
    Paddick I. A simple scoring ratio to index the conformity of radiosurgical treatment plans. J Neurosurg
    2000;93 Suppl 3:219-222, doi:10.3171/jns.2000.93.supplement_3.0219.
    """
    if isodose_cm3 <= 0:
        return 0.0
    covered = target.value(f"V{_number(prescription_gy)}Gy[cc]")
    return covered**2 / (target.volume_cm3 * isodose_cm3)


def rtog_conformity_index(target: DVH, isodose_cm3: float) -> float:
    """RTOG conformity index, PIV / TV; it does not see where the isodose lies.

    References
    ----------
    Shaw E et al. Radiation Therapy Oncology Group: radiosurgery quality assurance guidelines. Int J Radiat Oncol
    Biol Phys 1993;27:1231-1239, doi:10.1016/0360-3016(93)90548-A.
    """
    return isodose_cm3 / target.volume_cm3


def homogeneity_index(target: DVH) -> float:
    """ICRU 83 homogeneity index, (D2% - D98%) / D50%; 0 is a uniform dose.

    References
    ----------
    ICRU Report 83, section 3.7.1. J ICRU 2010;10(1), doi:10.1093/jicru/ndq002.
    """
    middle = target.value("D50%[Gy]")
    if middle <= 0:
        raise InputError(f"half of '{target.structure}' gets no dose, so it has no homogeneity index")
    return (target.value("D2%[Gy]") - target.value("D98%[Gy]")) / middle


def gradient_index(half_isodose_cm3: float, isodose_cm3: float) -> float:
    """Paddick gradient index: volume of half the prescription isodose over that of the prescription isodose.

    References
    ----------
    Paddick I, Lippitz B. A simple dose gradient measurement tool to complement the conformity index. J Neurosurg
    2006;105 Suppl:194-201, doi:10.3171/sup.2006.105.7.194.
    """
    if isodose_cm3 <= 0:
        raise InputError("nothing gets the prescribed dose, so there is no gradient index")
    return half_isodose_cm3 / isodose_cm3


def isodose_volume_cm3(dose: Dose, level_gy: float) -> float:
    """Volume that gets at least `level_gy`, over the whole dose grid, cm3.

    Voxels through which the isodose passes are divided into 5 x 5 x 5 parts with trilinear dose.

    Raises
    ------
    GeometryError
        When the isodose leaves the dose grid, so that its volume is unknown.
    """
    if not level_gy > 0:
        raise InputError(f"the dose of an isodose must be above 0 Gy; found {level_gy:g}")
    values, grid = dose.image.values, dose.image.grid
    faces = [values.take(end, axis=axis) for axis in range(3) for end in (0, -1) if grid.shape[axis] > 1]
    if any((face >= level_gy).any() for face in faces):
        raise GeometryError(
            f"the {level_gy:g} Gy isodose reaches the edge of the dose grid, so its volume is unknown; compute the "
            "dose on a larger grid"
        )
    lowest, highest = minimum_filter(values, 3, mode="nearest"), maximum_filter(values, 3, mode="nearest")
    whole = int((lowest >= level_gy).sum())
    cut = np.argwhere((lowest < level_gy) & (highest >= level_gy))
    steps = (np.arange(_PARTS) + 0.5) / _PARTS - 0.5
    parts = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = 0
    for n in range(0, len(cut), _CHUNK):
        points = grid.to_world(cut[n : n + _CHUNK, None, :] + parts)
        inside += int((interpolate(dose.image, points, outside=0.0) >= level_gy).sum())
    return (whole + inside / len(parts)) * grid.voxel_volume_cm3


def _number(value: float) -> str:
    """Decimal number as the grammar of metrics reads it."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
