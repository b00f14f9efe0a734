"""Absorbed dose, and what exactly its gray means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tailort.errors import GeometryError, InputError
from tailort.geometry import Image

Quantity = Literal["physical", "BED", "EQD2"]
Per = Literal["course", "fraction"]


@dataclass(frozen=True, eq=False)
class Dose:
    """A dose distribution that says what its gray means.

    Parameters
    ----------
    image : Image
        Values in Gy.
    quantity : {"physical", "BED", "EQD2"}
        Absorbed dose, biologically effective dose, or equieffective dose in 2 Gy fractions.
    per : {"course", "fraction"}
        Whether the values are the course total or one fraction's.
    fractions : int or None
        Number of fractions of the course; None is unknown.
    alpha_beta_gy : float or None
        Of BED and EQD2; None for physical dose.
    engine : str
        What computed it ("unknown" when the file does not tell).
    plan_uid : str
        SOP Instance UID of the plan it belongs to; empty is unknown.
    least : Image or None
        Where a dose is known by bounds only: the least that each voxel can have, on the same grid, while `image` is
        the most. None where they are the same.
    most_in : dict of Image
        Of such a dose: the most in structures of these names, in small letters, of which more is known, on the same
        grid; beyond them it holds as far as interpolation at their edge reads.
    """

    image: Image
    quantity: Quantity
    per: Per
    fractions: int | None
    alpha_beta_gy: float | None
    engine: str
    plan_uid: str = ""
    least: Image | None = None
    most_in: Mapping[str, Image] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.image.unit != "Gy":
            raise GeometryError(f"a dose is in Gy; found an image in {self.image.unit}")
        for bound in (*([] if self.least is None else [self.least]), *self.most_in.values()):
            if not (bound.unit == "Gy" and bound.grid.same_as(self.image.grid)):
                raise GeometryError("the least and the most of a dose are in Gy on one grid")
        if (self.quantity == "physical") != (self.alpha_beta_gy is None):
            raise InputError(
                f"a {self.quantity} dose with alpha/beta {self.alpha_beta_gy}: BED and EQD2 need an alpha/beta in Gy, "
                "physical dose has none"
            )
        if self.fractions is not None and self.fractions < 1:
            raise InputError(f"a course has at least one fraction; found {self.fractions}")

    def known_fractions(self) -> int:
        """Return the number of fractions, or refuse when it is unknown."""
        if self.fractions is None:
            raise InputError(
                "the number of fractions of this dose is unknown; give the RTPLAN, or name it with --fractions"
            )
        return self.fractions

    def per_course(self) -> Dose:
        """Return the course total. Only physical dose and BED scale with the number of fractions."""
        if self.per == "course":
            return self
        if self.quantity == "EQD2":
            raise InputError("an EQD2 of one fraction cannot be scaled to the course; convert the physical dose")
        n = self.known_fractions()
        least = None if self.least is None else self.least.with_values(self.least.values * n)
        most_in = {name: most.with_values(most.values * n) for name, most in self.most_in.items()}
        image = self.image.with_values(self.image.values * n)
        return replace(self, image=image, per="course", least=least, most_in=most_in)

    @property
    def label(self) -> str:
        """The quantity as scorecards print it: physical, EQD2(a/b=3), BED(a/b=3)."""
        return self.quantity if self.alpha_beta_gy is None else f"{self.quantity}(a/b={self.alpha_beta_gy:g})"

    def __add__(self, other: Dose) -> Dose:
        same = (
            self.quantity == other.quantity
            and self.per == other.per
            and self.alpha_beta_gy == other.alpha_beta_gy
            and (self.quantity != "physical" or (self.fractions is not None and self.fractions == other.fractions))
        )
        if not same:
            raise InputError(
                f"a {self.label} dose per {self.per} ({self.fractions} fractions) and a {other.label} dose per "
                f"{other.per} ({other.fractions} fractions) are not the same quantity: convert both to BED or EQD2"
            )
        if self.least is not None or other.least is not None:
            raise InputError("doses that are known by bounds only are summed as courses, not added")
        if not self.image.grid.same_as(other.image.grid):
            raise GeometryError("two doses on different grids: resample one onto the other's grid first")
        engine = self.engine if self.engine == other.engine else f"{self.engine} + {other.engine}"
        fractions = self.fractions if self.fractions == other.fractions else None
        return replace(
            self,
            image=self.image.with_values(self.image.values + other.image.values),
            fractions=fractions,
            engine=engine,
            plan_uid="",
        )
