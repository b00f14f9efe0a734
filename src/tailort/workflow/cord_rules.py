"""Published rules for a second course near the spinal cord, beside the protocol's own limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tailort.evaluation import EarlierCourse
from tailort.radiobiology.cord import CordCondition, NiederScore, all_met, hytec_cord, nieder_score

# What stands for the cord, the first that is drawn: HyTEC is about the thecal sac.
CORDS = ("ThecalSac", "SpinalCanal", "SpinalCord")
ALPHA_BETA_GY = 2.0


@dataclass(frozen=True)
class CordRules:
    """HyTEC's conditions and Nieder's score of one patient; both are reported and block nothing.

    Parameters
    ----------
    structure : str
        Whose maximum was taken.
    hytec : tuple of CordCondition
        Four conditions that count together; empty where there is no course of today.
    nieder : NiederScore
        With today's course where there is one.
    is_bound : bool
        Whether a dose is known by bounds only: values are then the most that they can be.
    """

    structure: str
    hytec: tuple[CordCondition, ...]
    nieder: NiederScore
    is_bound: bool = False

    def as_dict(self) -> dict[str, object]:
        """Return what cumulative.json holds."""
        return {
            "structure": self.structure,
            "at_most": self.is_bound,
            "hytec": {
                "met": all_met(self.hytec) if self.hytec else None,
                "conditions": [_told(one) for one in self.hytec],
            },
            "nieder": {
                "points": self.nieder.points,
                "group": self.nieder.group,
                "risk_percent": self.nieder.risk_percent,
                "conditions": [_told(one) for one in self.nieder.conditions],
            },
        }


def cord_rules(
    structure: str,
    course_beds_gy: Sequence[float],
    cumulative_bed_gy: float,
    earlier: Sequence[EarlierCourse],
    with_today: bool,
    *,
    is_bound: bool = False,
) -> CordRules:
    """Apply both rules.

    Parameters
    ----------
    structure : str
        Whose maxima these are.
    course_beds_gy : sequence of float
        Maximum of each course, today's last, BED with alpha/beta 2 Gy, Gy.
    cumulative_bed_gy : float
        Maximum of the sum.
    earlier : sequence of EarlierCourse
        Whose months count, the shortest of several.
    with_today : bool
        Whether the last course is today's.
    is_bound : bool
        Whether a maximum is known by bounds only, and the most that it can be is given.
    """
    known = [course.months for course in earlier if course.months is not None]
    months = min(known) if len(known) == len(earlier) else None
    to_eqd2 = 1.0 + 2.0 / ALPHA_BETA_GY
    hytec = hytec_cord(course_beds_gy[-1] / to_eqd2, cumulative_bed_gy / to_eqd2, months) if with_today else ()
    return CordRules(structure, hytec, nieder_score(course_beds_gy, months, cumulative_bed_gy), is_bound)


def _told(condition: CordCondition) -> dict[str, object]:
    return {
        "text": condition.text,
        "value": None if condition.value is None else round(condition.value, 3),
        "operator": condition.operator,
        "limit": condition.limit,
        "unit": condition.unit,
        "met": condition.met,
    }
