"""Limits of re-irradiation spine SBRT: the cord by the prior dose, the oesophagus over all courses, what comes first.

The protocol is that of Koide et al. 2024 (24 Gy in 2 fractions after conventional radiotherapy). Each number names its
rule and how sure it is.

| rule | what | mark |
|---|---|---|
| KO-80 | limit of the cord PRV, D0.035cc, by the prior BED (alpha/beta 2 Gy) | seed |
| KO-81 | the steps of 1 Gy that give the printed example | derived |
| KO-82 | step rule, other readings | ambiguous; default the upper edge |
| KO-83 | prior BED and SBRT together are about 140 Gy | derived |
| KO-84 | above 100 Gy the limit stays and the sum exceeds 140 Gy: shown and flagged | derived |
| KO-85 | which prior dose | ambiguous; default the larger |
| KO-86 | each course with its own dose per fraction; courses add up | derived |
| KO-87 | other organs, D0.035cc at most 20 Gy | seed |
| KO-90 | oesophagus, cumulative BED (alpha/beta 3 Gy), strict | seed |
| KO-92 | organs that are judged over all courses | seed; the unit of the 66 Gy ambiguous, default EQD2 |
| KO-94 | order of the limits | seed for the cord, ambiguous for the rest |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tailort.errors import InputError, UndecidedError
from tailort.patient import Constraint
from tailort.radiobiology import bed

CordReading = Literal["upper_edge", "mid_bin", "continuous"]
PriorReading = Literal["larger", "cord", "prescription"]
EntryReading = Literal["eqd2", "physical"]
OesophagusMetric = Literal["Max[Gy]", "D0.035cc[Gy]", "D1cc[Gy]"]
Organ = Literal["cord", "oesophagus", "trachea", "aorta", "carotid", "pharynx"]

CORD_ALPHA_BETA_GY = 2.0
OESOPHAGUS_ALPHA_BETA_GY = 3.0
SBRT_FRACTIONS = 2
HIGHEST_CORD_LIMIT_GY = 12.2
LOWEST_CORD_LIMIT_GY = 10.8
FALL_FROM_BED_GY = 90.0
FALL_TO_BED_GY = 100.0
CUMULATIVE_FLAG_BED_GY = 140.0

_SOURCE = "Koide 2024"
_FLOATING_POINT_GY = 1e-6  # 24 x 2 Gy is 96 Gy, not a bit more
_HIGHEST_CENTIGRAY = 1220
_FALL_CENTIGRAY = 14  # per Gy of prior BED

CORD_READINGS: Mapping[CordReading, str] = MappingProxyType(
    {
        "upper_edge": "steps of 1 Gy, open below and closed above, at their upper edge, rounded half up to 0.1 Gy",
        "mid_bin": "the same steps at their middle; falls by 0.1 Gy at once above 100 Gy",
        "continuous": "12.2 - 0.14 (BED - 90) Gy, not rounded",
    }
)
"""Readings of the cord rule (KO-82), the default first. At their lower edge the steps miss the printed example."""

OTHER_ORGANS: tuple[str, ...] = (
    "Pharynx", "Larynx", "Esophagus", "Trachea", "Bronchus_Main", "Stomach", "Lungs", "A_Carotid_L", "A_Carotid_R",
    "A_Aorta",
)  # fmt: skip
"""Organs of KO-87 by their TG-263 names."""

OESOPHAGUS_BED_LIMITS_GY: Mapping[OesophagusMetric, float] = MappingProxyType(
    {"Max[Gy]": 203.0, "D0.035cc[Gy]": 187.0, "D1cc[Gy]": 167.0}
)
"""KO-90: EBRT and SBRT together, BED with alpha/beta 3 Gy, all strictly below."""

ENTRY_EQD2_GY: Mapping[Organ, float] = MappingProxyType(
    {"cord": 50.0, "oesophagus": 60.0, "trachea": 60.0, "aorta": 60.0, "carotid": 66.0, "pharynx": 66.0}
)
"""KO-92: cumulative maximum, EQD2 with alpha/beta 2 Gy, from which an organ is judged over all courses."""

ORDER_OF_LIMITS: tuple[str, ...] = (
    "cord PRV D0.035cc",
    "cumulative oesophagus",
    "D0.035cc of other organs",
    "coverage of PTVeval",
)
"""KO-94, most important first: the cord is the seed's; the order of the rest is the default of an ambiguous rule."""


@dataclass(frozen=True)
class PriorCourse:
    """An earlier course of radiotherapy at the level.

    Parameters
    ----------
    dose_gy : float
        Physical dose of the course, Gy.
    fractions : int
        Number of fractions.
    """

    dose_gy: float
    fractions: int

    def __post_init__(self) -> None:
        if not 0 < self.dose_gy <= 200:
            raise InputError(f"a prior course of {self.dose_gy:g} Gy is not in (0, 200] Gy per course")
        if self.fractions < 1:
            raise InputError(f"a prior course of {self.fractions} fractions: at least 1 is needed")


@dataclass(frozen=True)
class PriorDose:
    """The prior dose that the cord rule uses.

    Parameters
    ----------
    bed_gy : float
        BED of all earlier courses, alpha/beta 2 Gy, Gy.
    of : {"cord", "prescription"}
        What it is the BED of: D0.035cc of the cord, or the prescription at the level.
    reading : {"larger", "cord", "prescription"}
        The reading of KO-85 that chose it.
    other_bed_gy : float or None
        BED of the one not taken; None when it is not known.
    is_lower_bound : bool
        Whether the other one is unknown and could be larger, without changing the limit.
    """

    bed_gy: float
    of: Literal["cord", "prescription"]
    reading: PriorReading
    other_bed_gy: float | None = None
    is_lower_bound: bool = False


@dataclass(frozen=True)
class CordLimit:
    """Limit of the cord PRV in this treatment, and how it came about.

    Parameters
    ----------
    limit_gy : float
        D0.035cc of SpinalCord_PRV at most, physical Gy in 2 fractions.
    prior : PriorDose
        What it was derived from.
    reading : {"upper_edge", "mid_bin", "continuous"}
        Of KO-82.
    other_limits_gy : dict
        What the readings that were not taken would give, physical Gy.
    cumulative_bed_gy : float
        Prior BED and that of the limit in 2 fractions, alpha/beta 2 Gy (KO-84).
    """

    limit_gy: float
    prior: PriorDose
    reading: CordReading
    other_limits_gy: Mapping[CordReading, float]
    cumulative_bed_gy: float

    @property
    def exceeds_flag(self) -> bool:
        """Whether prior BED and limit together exceed 140 Gy, which a report must show (KO-84)."""
        return self.cumulative_bed_gy > CUMULATIVE_FLAG_BED_GY + _FLOATING_POINT_GY

    @property
    def defaults(self) -> tuple[str, ...]:
        """Ambiguous rules of which the default was taken."""
        taken = {"KO-82": self.reading == "upper_edge", "KO-85": self.prior.reading == "larger"}
        return tuple(rule for rule, is_default in taken.items() if is_default)

    def in_words(self) -> str:
        """Return the limit, its reason and, above 140 Gy, the flag as a report prints them."""
        at_least = "at least " if self.prior.is_lower_bound else ""
        text = (
            f"D0.035cc of SpinalCord_PRV <= {self.limit_gy:g} Gy physical in {SBRT_FRACTIONS} fractions: prior BED "
            f"{at_least}{self.prior.bed_gy:.1f} Gy (a/b=2) of the {self.prior.of} [KO-80, KO-81, KO-85, KO-86]; "
            f"together {at_least}{self.cumulative_bed_gy:.1f} Gy"
        )
        if self.exceeds_flag:
            text += f", above {CUMULATIVE_FLAG_BED_GY:g} Gy: to be reviewed [KO-84]"
        return text

    def constraint(self, structure: str = "SpinalCord_PRV") -> Constraint:
        """Return the limit as a hard constraint of the course."""
        mark = "ambiguous" if self.defaults else "seed"
        return Constraint(
            structure, "D0.035cc[Gy]", "<=", self.limit_gy, "hard", f"{_SOURCE}, KO-80, KO-81, KO-85", mark=mark
        )


def prior_bed_gy(courses: Sequence[PriorCourse]) -> float:
    """BED of earlier courses together, alpha/beta 2 Gy, each with its own dose per fraction (KO-86)."""
    return sum(float(bed(course.dose_gy, course.fractions, CORD_ALPHA_BETA_GY)) for course in courses)


def choose_prior(
    prescription_bed_gy: float | None, cord_bed_gy: float | None, reading: PriorReading = "larger"
) -> PriorDose:
    """Choose the prior dose that the cord rule uses (KO-85, ambiguous).

    Parameters
    ----------
    prescription_bed_gy : float or None
        BED of all earlier prescriptions at the level, alpha/beta 2 Gy; None when unknown.
    cord_bed_gy : float or None
        BED of the cord's D0.035cc over all earlier courses, alpha/beta 2 Gy; None when unknown.
    reading : {"larger", "cord", "prescription"}
        "larger", the default and stricter one, takes the larger of both.

    Raises
    ------
    UndecidedError
        When a dose that the reading needs is unknown. "larger" does without the second dose when the first one
        alone asks for the lowest limit in every reading of the rule.
    InputError
        When a dose is negative, no number, or the reading unknown.
    """
    known: dict[Literal["cord", "prescription"], float] = {}
    if cord_bed_gy is not None:
        known["cord"] = _checked(cord_bed_gy)
    if prescription_bed_gy is not None:
        known["prescription"] = _checked(prescription_bed_gy)
    facts = {"cord": "prior_cord_bed_gy", "prescription": "prior_prescription_bed_gy"}
    if reading in ("cord", "prescription"):
        if reading not in known:
            raise UndecidedError(
                f"the cord limit is to follow the prior dose of the {reading} [KO-85], which is not known; give "
                f"{facts[reading]}",
                (facts[reading],),
            )
        other = known.get("prescription" if reading == "cord" else "cord")
        return PriorDose(known[reading], reading, reading, other)
    if reading != "larger":
        raise InputError(f"unknown reading '{reading}' of KO-85; known are larger, cord, prescription")
    missing = tuple(fact for name, fact in facts.items() if name not in known)
    if len(known) == 2:
        of = max(known, key=lambda name: known[name])
        return PriorDose(known[of], of, reading, min(known.values()))
    for of, value in known.items():
        if value > FALL_TO_BED_GY + _FLOATING_POINT_GY:
            return PriorDose(value, of, reading, is_lower_bound=True)
    raise UndecidedError(
        "the cord limit follows the larger of the prior doses of prescription and cord [KO-85]; not known: "
        f"{', '.join(missing)}; give it, or name the reading to take",
        missing,
    )


def cord_prv_limit_gy(prior_bed: float, reading: CordReading = "upper_edge") -> float:
    """D0.035cc that the cord PRV may receive, physical Gy in 2 fractions (KO-80 to KO-82).

    Parameters
    ----------
    prior_bed : float
        BED of the earlier courses, alpha/beta 2 Gy, Gy.
    reading : {"upper_edge", "mid_bin", "continuous"}
        Of KO-82, see `CORD_READINGS`.

    Notes
    -----
    12.2 Gy up to 90 Gy, 10.8 Gy above 100 Gy, a fall of 0.14 Gy per Gy between them. The printed example,
    95 < BED <= 96 gives 11.4 Gy, is what both step readings give; the continuous one gives 11.50 to 11.36 Gy there.
    """
    value = _checked(prior_bed)
    if reading not in CORD_READINGS:
        raise InputError(f"unknown reading '{reading}' of KO-82; known are {', '.join(CORD_READINGS)}")
    if value <= FALL_FROM_BED_GY + _FLOATING_POINT_GY:
        return HIGHEST_CORD_LIMIT_GY
    if value > FALL_TO_BED_GY + _FLOATING_POINT_GY:
        return LOWEST_CORD_LIMIT_GY
    if reading == "continuous":
        return max(LOWEST_CORD_LIMIT_GY, (_HIGHEST_CENTIGRAY - _FALL_CENTIGRAY * (value - FALL_FROM_BED_GY)) / 100)
    steps = math.ceil(value - _FLOATING_POINT_GY) - int(FALL_FROM_BED_GY)
    centigray = _HIGHEST_CENTIGRAY - _FALL_CENTIGRAY * steps + (_FALL_CENTIGRAY // 2 if reading == "mid_bin" else 0)
    # Whole numbers, so that halves go up whatever their binary form.
    return ((centigray + 5) // 10) / 10


def cord_limit(prior: PriorDose, reading: CordReading = "upper_edge") -> CordLimit:
    """Limit of the cord PRV for a prior dose, with the other readings and the sum with the prior dose.

    Parameters
    ----------
    prior : PriorDose
        From `choose_prior`.
    reading : {"upper_edge", "mid_bin", "continuous"}
        Of KO-82.
    """
    limit = cord_prv_limit_gy(prior.bed_gy, reading)
    others = {name: cord_prv_limit_gy(prior.bed_gy, name) for name in CORD_READINGS if name != reading}
    together = prior.bed_gy + float(bed(limit, SBRT_FRACTIONS, CORD_ALPHA_BETA_GY))
    return CordLimit(limit, prior, reading, MappingProxyType(others), together)


def cord_limit_table(reading: CordReading = "upper_edge") -> tuple[tuple[int, float], ...]:
    """Upper edge of each step of prior BED (91 to 100 Gy, alpha/beta 2 Gy) and the limit at it, physical Gy (KO-81)."""
    first, last = int(FALL_FROM_BED_GY) + 1, int(FALL_TO_BED_GY)
    return tuple((edge, cord_prv_limit_gy(edge, reading)) for edge in range(first, last + 1))


def oesophagus_constraints(structure: str = "Esophagus") -> tuple[Constraint, ...]:
    """Limits of the oesophagus over all courses, BED with alpha/beta 3 Gy, strict (KO-90)."""
    return tuple(
        Constraint(
            structure, metric, "<", limit, "hard", f"{_SOURCE}, KO-90", "BED", OESOPHAGUS_ALPHA_BETA_GY, "cumulative",
            "seed",
        )
        for metric, limit in OESOPHAGUS_BED_LIMITS_GY.items()
    )  # fmt: skip


def other_organ_constraints(structures: Sequence[str] = OTHER_ORGANS) -> tuple[Constraint, ...]:
    """Limits of the other organs in this treatment: D0.035cc at most 20 Gy physical in 2 fractions (KO-87).

    They are enforced strictly although the oesophagus doses of the paper's own table exceed 20 Gy (KO-88, ambiguous).
    """
    return tuple(
        Constraint(name, "D0.035cc[Gy]", "<=", 20.0, "hard", f"{_SOURCE}, KO-87, KO-88", mark="seed")
        for name in structures
    )


def enters_cumulative_analysis(
    organ: Organ,
    eqd2_max_gy: float | None = None,
    physical_max_gy: float | None = None,
    reading: EntryReading = "eqd2",
) -> bool:
    """Whether an organ is judged over all courses (KO-92).

    Parameters
    ----------
    organ : {"cord", "oesophagus", "trachea", "aorta", "carotid", "pharynx"}
        Of the protocol's table.
    eqd2_max_gy : float or None
        Cumulative maximum, EQD2 with alpha/beta 2 Gy, Gy; None when unknown.
    physical_max_gy : float or None
        Cumulative maximum of the physical dose, Gy; only for carotid and pharynx in the reading "physical".
    reading : {"eqd2", "physical"}
        What the 66 Gy of carotid and pharynx are (ambiguous): EQD2 with alpha/beta 2 Gy, the default, or physical.

    Raises
    ------
    UndecidedError
        When the dose that is compared is unknown.
    InputError
        For an unknown organ or reading.
    """
    if organ not in ENTRY_EQD2_GY:
        raise InputError(f"KO-92 has no threshold for '{organ}'; it has {', '.join(ENTRY_EQD2_GY)}")
    if reading not in ("eqd2", "physical"):
        raise InputError(f"unknown reading '{reading}' of KO-92; known are eqd2, physical")
    physical = reading == "physical" and organ in ("carotid", "pharynx")
    value, fact = (physical_max_gy, "physical_max_gy") if physical else (eqd2_max_gy, "eqd2_max_gy")
    if value is None:
        raise UndecidedError(
            f"whether the {organ} is judged over all courses [KO-92] needs its cumulative {fact}; add up the courses",
            (f"{organ}_{fact}",),
        )
    return _checked(value) >= ENTRY_EQD2_GY[organ]


def _checked(dose_gy: float) -> float:
    if not math.isfinite(dose_gy) or dose_gy < 0:
        raise InputError(f"a prior or cumulative dose must be a finite number of at least 0 Gy; found {dose_gy} Gy")
    return float(dose_gy)
