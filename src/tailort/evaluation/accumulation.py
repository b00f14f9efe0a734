"""The dose of several courses together, voxel by voxel, as BED or EQD2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image
from tailort.patient import Dose
from tailort.radiobiology import bed, eqd2
from tailort.radiobiology.high_dose import LinearQuadraticLinear, UniversalSurvivalCurve, bed_lql, bed_usc

Float = NDArray[np.float64]
CONVERSIONS = {"BED": bed, "EQD2": eqd2}


@dataclass(frozen=True, eq=False)
class EarlierCourse:
    """An earlier course as it lies in the patient of today.

    Parameters
    ----------
    label : str
        For people.
    doses : tuple of Dose
        Physical dose of each phase with its own fractions, Gy per course, all on one grid in today's frame of
        reference; NaN where it is not known. Where it is known by bounds only the dose is the most that it can be.
    months : float or None
        From its last fraction to the first one of today; None is unknown.
    mapped : str
        How it came into today's frame of reference.
    """

    label: str
    doses: tuple[Dose, ...]
    months: float | None
    mapped: str

    def __post_init__(self) -> None:
        if not self.doses:
            raise InputError(f"course '{self.label}' has no dose: give its RTDOSE")
        for dose in self.doses:
            _require_countable(dose, self.label)
            if not dose.image.grid.same_as(self.grid):
                raise GeometryError(f"the phases of course '{self.label}' are on different grids: map them onto one")

    @property
    def grid(self) -> Grid:
        """Where the doses are."""
        return self.doses[0].image.grid


def accumulate(
    courses: Sequence[EarlierCourse],
    own: Sequence[Dose],
    quantity: str,
    alpha_beta_gy: float,
    discounts: Sequence[float] | None = None,
    high_dose: LinearQuadraticLinear | UniversalSurvivalCurve | None = None,
) -> Dose:
    """Sum of all courses, each phase converted in each voxel with its own fractions.

    Parameters
    ----------
    courses : sequence of EarlierCourse
        On one grid; their order does not matter.
    own : sequence of Dose
        Physical dose of each phase of today's course on the same grid; empty asks what is spent so far.
    quantity : {"BED", "EQD2"}
        Of the sum. Physical doses of courses of unlike fractions are not added.
    alpha_beta_gy : float
        Of the tissue as it is today, Gy.
    discounts : sequence of float, optional
        Part of each earlier course, 0 to 1, that the tissue has recovered from; none unless given.
    high_dose : LinearQuadraticLinear, UniversalSurvivalCurve or None
        Model of high doses per fraction for a look at how far a BED depends on it; None is plain LQ. A survival curve
        belongs to its own alpha/beta.

    Returns
    -------
    Dose
        Gy, all courses; NaN where the dose of one of them is not known. It has a `least` where there are such voxels,
        or a course is known by bounds only: what the courses together have given at least.

    Raises
    ------
    InputError
        When a dose cannot be added: no fractions, not physical, another quantity asked than BED or EQD2.
    GeometryError
        When grids differ.

    References
    ----------
    Nieder C et al. Int J Radiat Oncol Biol Phys 2006;66:1446-1449, doi:10.1016/j.ijrobp.2006.07.1383 (courses add in
    BED).
    """
    if quantity not in CONVERSIONS:
        raise InputError(f"courses add up in BED or EQD2, not in {quantity} dose: their fractions differ")
    if high_dose is not None and quantity != "BED":
        raise InputError("models of high doses per fraction give BED; ask for BED")
    if isinstance(high_dose, UniversalSurvivalCurve) and high_dose.alpha_beta_gy != alpha_beta_gy:
        raise InputError(
            f"survival curve '{high_dose.name}' is of alpha/beta {high_dose.alpha_beta_gy:g} Gy; "
            f"found {alpha_beta_gy:g} Gy"
        )
    shares = [0.0] * len(courses) if discounts is None else list(discounts)
    if len(shares) != len(courses) or any(not 0.0 <= share <= 1.0 for share in shares):
        raise InputError(f"{len(courses)} earlier course(s) need as many discounts from 0 to 1; found {shares}")
    parts = [(dose, 1.0 - share) for course, share in zip(courses, shares, strict=True) for dose in course.doses]
    for dose in own:
        _require_countable(dose, "today's")
        parts.append((dose, 1.0))
    if not parts:
        raise InputError("a sum of courses needs the dose of at least one")
    grid = parts[0][0].image.grid
    for dose, _ in parts:
        if not dose.image.grid.same_as(grid):
            raise GeometryError("the doses of two courses are on different grids: map them onto one first")

    def summed(of: Callable[[Dose], Image]) -> Image:
        images = [(dose, of(dose), left) for dose, left in parts]
        values = np.stack(
            [_converted(dose, image, quantity, alpha_beta_gy, high_dose) * left for dose, image, left in images]
        )
        # Sorted, so that the sum is the same to the last bit whatever the order of the courses.
        values.sort(axis=0)
        return Image(grid, values.sum(axis=0).astype(np.float32), "Gy")

    def most_in(name: str) -> Image:
        return summed(lambda dose: dose.most_in.get(name, dose.image))

    parts = [(dose.per_course(), left) for dose, left in parts]
    total = summed(lambda dose: dose.image)
    unsure = np.isnan(total.values).any() or any(dose.least is not None for dose, _ in parts)
    names = sorted({name for dose, _ in parts for name in dose.most_in})
    first = parts[0][0]
    engines = sorted({dose.engine for dose, _ in parts})
    return replace(
        first,
        image=total,
        least=summed(_least) if unsure else None,
        most_in={name: most_in(name) for name in names},
        quantity="BED" if quantity == "BED" else "EQD2",
        alpha_beta_gy=alpha_beta_gy,
        per="course",
        fractions=None,
        engine=" + ".join(engines),
        plan_uid="",
    )


def _least(dose: Dose) -> Image:
    """The least in each voxel; 0 where nothing is known."""
    least = dose.image if dose.least is None else dose.least
    return least.with_values(np.nan_to_num(least.values, nan=0.0))


def _converted(
    dose: Dose,
    image: Image,
    quantity: str,
    alpha_beta_gy: float,
    high_dose: LinearQuadraticLinear | UniversalSurvivalCurve | None,
) -> Float:
    """An image of a dose per course in another quantity, with the fractions of that dose."""
    given = image.values.astype(np.float64)
    known = np.isfinite(given)
    values = np.full(given.shape, np.nan)
    if high_dose is None:
        values[known] = CONVERSIONS[quantity](given[known], dose.known_fractions(), alpha_beta_gy)
    elif isinstance(high_dose, UniversalSurvivalCurve):
        values[known] = bed_usc(given[known], dose.known_fractions(), high_dose)
    else:
        values[known] = bed_lql(given[known], dose.known_fractions(), alpha_beta_gy, high_dose)
    return values


def _require_countable(dose: Dose, label: str) -> None:
    if dose.quantity != "physical":
        raise InputError(f"the dose of course '{label}' is {dose.label}; courses are added up from physical doses")
    if dose.fractions is None:
        raise InputError(
            f"the dose of course '{label}' has no number of fractions, so it has no BED; add its RTPLAN, or write "
            "fractions into the course.yaml beside it"
        )
