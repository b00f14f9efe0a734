"""Virtual cohorts: synthetic tables of followed patients whose hazards are known. No row is a person's.

Two shapes: the study of re-irradiation of the spine (21 patients, local failure with death competing) and the trial of
salvage chemoradiation (two arms, visits, adverse events, lesions, cycles). Sizes, rates and proportions are chosen so
that tables and curves look like such a study's; they are nobody's results.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

DAYS_A_MONTH = 30.4375
SOURCE = "synthetic"
Row = dict[str, str]

SPINE_FAILURE_PER_MONTH, SPINE_DEATH_PER_MONTH, SPINE_FRACTURE_PER_MONTH = 0.040, 0.048, 0.020
SPINE_LAST_DAY = dt.date(2023, 9, 30)
SPINE_FIRST_ENTRY = dt.date(2016, 1, 11)

SALVAGE_FIRST_ENTRY, SALVAGE_LAST_ENTRY = dt.date(2018, 11, 5), dt.date(2022, 11, 4)
SALVAGE_LAST_DAY = dt.date(2024, 11, 29)
SALVAGE_ONE_YEAR_SURVIVAL = {"ENI": 0.70, "IFI": 0.60}
SALVAGE_PROGRESSION_PER_MONTH = {"ENI": 0.045, "IFI": 0.055}
SALVAGE_LOST_PER_MONTH = 0.004
SALVAGE_SHARE_ENI = 83 / 282
VISIT_MONTHS = (*range(3, 25, 3), *range(30, 61, 6), 72)
FRACTIONS, DOSE_GY = 28, 59.92
TERMS = {
    "Esophagitis": (0.25, 0.35, 0.28, 0.10, 0.02),
    "Neutrophil count decreased": (0.35, 0.20, 0.22, 0.15, 0.08),
    "Platelet count decreased": (0.60, 0.20, 0.12, 0.06, 0.02),
    "Pneumonitis": (0.62, 0.22, 0.12, 0.035, 0.005),
    "Nausea": (0.45, 0.35, 0.15, 0.05, 0.0),
}
"""Chance of each grade, 0 to 4."""
HAEMATOLOGICAL = ("Neutrophil count decreased", "Platelet count decreased")


@dataclass(frozen=True)
class VirtualCohort:
    """A synthetic table of patients.

    Parameters
    ----------
    name : str
        "spine" or "salvage".
    protocol : str
        Id of the protocol whose endpoints it has.
    columns : tuple of str
        Of the table.
    rows : tuple of dict
        Cells by column; a column that a row has not is empty.
    mapping : str
        What the columns are, YAML.
    last_day : date
        When follow-up ended: the day as of which the table is analysed.
    truth : dict
        Hazards and rates that the table was drawn with.
    """

    name: str
    protocol: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    mapping: str
    last_day: dt.date
    truth: Mapping[str, Any]


def spine_cohort(seed: int = 183, patients: int = 21) -> VirtualCohort:
    """Draw a cohort in the shape of the study of re-irradiation of the spine: one row a patient.

    Parameters
    ----------
    seed : int
        Of the draw; the same seed gives the same table. The one taken when none is given has as many local failures (6)
        and fractures (5) as the study.
    patients : int
        How many.

    Notes
    -----
    From the first day of SBRT local failure and death have constant hazards and know nothing of each other, so that the
    cumulative incidence of failure is a / (a + b) (1 - exp(-(a + b) t)). Nobody dies between diagnosis and SBRT.
    """
    draw = np.random.default_rng(seed)
    rows = [_spine_patient(draw, n) for n in range(1, patients + 1)]
    died = [row for row in rows if row["death"] and row["oesophagus_max"]]
    if died:
        # The one treatment-related death is that of the largest dose to the oesophagus.
        max(died, key=lambda row: float(row["oesophagus_max"])).update(treatment_death="1", perforation="5")
    a, b = SPINE_FAILURE_PER_MONTH, SPINE_DEATH_PER_MONTH
    truth = {
        "synthetic": True,
        "seed": seed,
        "local_failure_per_month": a,
        "death_per_month": b,
        "fracture_per_month": SPINE_FRACTURE_PER_MONTH,
        "local_failure_at_12_months_from_sbrt": a / (a + b) * (1 - math.exp(-12 * (a + b))),
        "survival_at_12_months_from_sbrt": math.exp(-12 * b),
        "immortal_between": ["mescc_date", "sbrt_start_date"],
    }
    return VirtualCohort(
        "spine", "reirradiation-spine", tuple(rows[0]), tuple(rows), _mapping("spine"), SPINE_LAST_DAY, truth
    )


def _spine_patient(draw: np.random.Generator, number: int) -> Row:
    span = (SPINE_LAST_DAY - SPINE_FIRST_ENTRY).days - 365
    diagnosis = SPINE_FIRST_ENTRY + dt.timedelta(int(draw.integers(span)))
    sbrt = diagnosis + dt.timedelta(int(draw.integers(8, 35)))
    follow_up = (SPINE_LAST_DAY - sbrt).days
    death, failure, fracture = (
        _days(draw, rate) for rate in (SPINE_DEATH_PER_MONTH, SPINE_FAILURE_PER_MONTH, SPINE_FRACTURE_PER_MONTH)
    )
    last = min(death, follow_up)
    high = bool(draw.random() < 0.2)
    dosimetry = bool(draw.random() < 0.75)
    worst = float(draw.normal(150.0, 28.0))
    return {
        "source": SOURCE,
        "id": f"V-{number:02d}",
        "age": str(int(np.clip(draw.normal(66, 9), 35, 88))),
        "sex": str(draw.choice(["M", "F"], p=[0.6, 0.4])),
        "kps": str(draw.choice([60, 70, 80, 90], p=[0.15, 0.3, 0.35, 0.2])),
        "oligo": _flag(draw.random() < 0.45),
        "bilsky": str(draw.choice(["1a", "1b", "1c", "2", "3"], p=[0.1, 0.15, 0.25, 0.3, 0.2])),
        "sins": str(int(draw.integers(4, 15))),
        "surgery": str(draw.choice(["none", "decompression and stabilisation"], p=[0.5, 0.5])),
        "prior_dose": "70" if high else str(draw.choice(["50", "60", "66"], p=[0.2, 0.6, 0.2])),
        "mescc": diagnosis.isoformat(),
        "sbrt": sbrt.isoformat(),
        "failure": _day(sbrt, failure, last),
        "fracture": _day(sbrt, fracture, last),
        "dead": _flag(death <= follow_up),
        "death": _day(sbrt, death, follow_up),
        "last_seen": (sbrt + dt.timedelta(last)).isoformat(),
        "treatment_death": "0",
        "oesophagus_max": f"{worst:.1f}" if dosimetry else "",
        "oesophagus_d0035": f"{worst * 0.93:.1f}" if dosimetry else "",
        "oesophagus_d1": f"{worst * 0.82:.1f}" if dosimetry else "",
        "oesophagitis": str(draw.choice([0, 1, 2, 3], p=[0.5, 0.25, 0.2, 0.05])),
        "pain": str(draw.choice([0, 1, 2, 3], p=[0.4, 0.3, 0.2, 0.1])),
        "perforation": "0",
    }


def salvage_cohort(seed: int = 282, patients: int = 282) -> VirtualCohort:
    """Draw a cohort in the shape of the salvage trial: rows of patients, visits, events, lesions, courses and cycles.

    Parameters
    ----------
    seed : int
        Of the draw; the same seed gives the same table.
    patients : int
        How many; 83 of 282 have elective nodal irradiation, the others involved-field irradiation.

    Notes
    -----
    From the start of treatment death and progression have constant hazards and know nothing of each other; death is
    0.70 (elective) and 0.60 (involved field) survival at one year, as the protocol assumed.
    """
    draw = np.random.default_rng(seed)
    elective = round(patients * SALVAGE_SHARE_ENI)
    rows = [
        row
        for n in range(1, patients + 1)
        for row in _SalvagePatient.drawn(draw, n, "ENI" if n <= elective else "IFI").rows(draw)
    ]
    truth = {
        "synthetic": True,
        "seed": seed,
        "patients": {"ENI": elective, "IFI": patients - elective},
        "death_per_month": {arm: _death_per_month(arm) for arm in SALVAGE_ONE_YEAR_SURVIVAL},
        "progression_per_month": SALVAGE_PROGRESSION_PER_MONTH,
        "lost_per_month": SALVAGE_LOST_PER_MONTH,
        "survival_at_12_months": SALVAGE_ONE_YEAR_SURVIVAL,
        "progression_free_at_12_months": {
            arm: math.exp(-12 * (_death_per_month(arm) + SALVAGE_PROGRESSION_PER_MONTH[arm]))
            for arm in SALVAGE_ONE_YEAR_SURVIVAL
        },
        "chance_of_grades_0_to_4": {term: list(chances) for term, chances in TERMS.items()},
    }
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return VirtualCohort("salvage", "salvage-crt", columns, tuple(rows), _mapping("salvage"), SALVAGE_LAST_DAY, truth)


class _SalvagePatient(NamedTuple):
    """What is drawn once a patient; days count from the start of treatment."""

    name: str
    arm: str
    start: dt.date
    death: int
    progression: int
    last: int
    died: bool
    fractions: int
    weight_kg: float

    @staticmethod
    def drawn(draw: np.random.Generator, number: int, arm: str) -> _SalvagePatient:
        span = (SALVAGE_LAST_ENTRY - SALVAGE_FIRST_ENTRY).days
        start = SALVAGE_FIRST_ENTRY + dt.timedelta(int(draw.integers(span + 1)))
        death, progression = _days(draw, _death_per_month(arm)), _days(draw, SALVAGE_PROGRESSION_PER_MONTH[arm])
        lost = _days(draw, SALVAGE_LOST_PER_MONTH)
        seen = min((SALVAGE_LAST_DAY - start).days, lost)
        last = min(death, seen)
        fractions = FRACTIONS if last > 45 and draw.random() < 0.93 else int(min(FRACTIONS - 1, 5 + last // 2))
        weight = float(np.clip(draw.normal(60, 9), 40, 95))
        return _SalvagePatient(
            f"T-{number:03d}", arm, start, death, progression, last, death <= seen, fractions, weight
        )

    def on(self, day: int) -> str:
        """Calendar day."""
        return (self.start + dt.timedelta(day)).isoformat()

    @property
    def end(self) -> int:
        """Day of the last fraction: five a week."""
        return min(self.last, (self.fractions - 1) // 5 * 7 + (self.fractions - 1) % 5)

    def row(self, what: str, /, **cells: str) -> Row:
        """One row of the table."""
        return {"source": SOURCE, "id": self.name, "row": what, **cells}

    def rows(self, draw: np.random.Generator) -> list[Row]:
        """Every row of the patient."""
        grades = {term: int(draw.choice(5, p=chances)) for term, chances in TERMS.items()}
        worst_blood = max(grades[term] for term in HAEMATOLOGICAL)
        second = {3: 80, 4: 0}.get(worst_blood, 100)
        cycles = [(1, 0, 100), (2, 21, second)] if self.last >= 21 else [(1, 0, 100)]
        progressed = self.progression < self.last
        completed = self.fractions == FRACTIONS and len(cycles) == 2 and second > 0
        patient = self.row(
            "patient",
            arm=self.arm,
            centre=f"C{int(draw.integers(1, 7))}",
            age=str(int(np.clip(draw.normal(62, 8), 35, 79))),
            sex=str(draw.choice(["M", "F"], p=[0.8, 0.2])),
            kps=str(draw.choice([70, 80, 90], p=[0.25, 0.45, 0.3])),
            height=str(int(draw.normal(168, 7))),
            start=self.on(0),
            end=self.on(self.end),
            progression=self.on(self.progression) if progressed else "",
            outside=_flag(draw.random() < (0.35 if self.arm == "ENI" else 0.5)) if progressed else "",
            dead=_flag(self.died),
            death=self.on(self.death) if self.died else "",
            last_seen=self.on(self.last),
            completed=_flag(completed),
        )
        return [
            patient,
            self.row(
                "course", course="salvage", course_first=self.on(0), course_last=self.on(self.end),
                planned_dose=f"{DOSE_GY:g}", dose=f"{DOSE_GY * self.fractions / FRACTIONS:.2f}",
                planned_fractions=str(FRACTIONS), fractions=str(self.fractions),
            ),
            *(
                self.row("cycle", cycle=str(n), cycle_day=self.on(day), percent=str(percent))
                for n, day, percent in cycles
            ),
            *self._adverse_events(draw, grades),
            *self._visits(draw),
            *self._lesions(draw),
        ]  # fmt: skip

    def _adverse_events(self, draw: np.random.Generator, grades: Mapping[str, int]) -> list[Row]:
        found = []
        for term, grade in grades.items():
            day = int(draw.integers(5, 20)) if term in HAEMATOLOGICAL else int(draw.integers(10, 90))
            if grade == 0 or day > self.last:
                continue
            cells = {"term": term, "grade": str(grade), "event_day": self.on(day), "serious": _flag(grade == 4)}
            if grade == 4:
                noticed = dt.datetime.combine(self.start + dt.timedelta(day), dt.time(8)) + dt.timedelta(
                    minutes=int(draw.integers(600))
                )
                hours = float(draw.gamma(2.0, 10.0))
                cells["noticed"] = f"{noticed:%Y-%m-%d %H:%M}"
                if draw.random() < 0.9:
                    cells["reported"] = f"{noticed + dt.timedelta(hours=hours):%Y-%m-%d %H:%M}"
            found.append(self.row("adverse event", **cells))
        return found

    def _visits(self, draw: np.random.Generator) -> list[Row]:
        found = []
        for month in VISIT_MONTHS:
            day = self.end + round(month * DAYS_A_MONTH) + int(draw.integers(-9, 10))
            if day > self.last or draw.random() < 0.08:
                continue
            loss = 1 - 0.06 * math.exp(-month / 12) - (0.05 if day > self.progression else 0.0)
            score = float(np.clip(draw.normal(72 - (14 if day > self.progression else 0), 9), 0, 100))
            found.append(
                self.row(
                    "visit", visit_day=self.on(day), month=str(month),
                    weight=f"{self.weight_kg * loss + draw.normal(0, 0.8):.1f}", quality=f"{score:.0f}",
                    ct=_flag(draw.random() < 0.95), ultrasound=_flag(draw.random() < 0.85),
                    swallow=_flag(draw.random() < 0.8),
                )
            )  # fmt: skip
        return found

    def _lesions(self, draw: np.random.Generator) -> list[Row]:
        """Lesions at baseline, at two months, at half a year, and where progression was found."""
        size = float(draw.uniform(18, 45))
        best = size * float(draw.uniform(0.3, 0.95))
        days = {-12: size, self.end + 45: best, self.end + 183: best}
        if self.progression < self.last:
            days = {day: mm for day, mm in days.items() if day < self.progression}
            smallest = min(days.values())
            days[self.progression] = max(1.3 * smallest, smallest + 8)
        return [
            self.row(
                "lesion", lesion="N1", organ="lymph nodes", nodal="1", kind="target", lesion_day=self.on(day),
                size=f"{mm:.0f}",
            )
            for day, mm in days.items()
            if day <= self.last
        ]  # fmt: skip


def _death_per_month(arm: str) -> float:
    return -math.log(SALVAGE_ONE_YEAR_SURVIVAL[arm]) / 12


def _days(draw: np.random.Generator, per_month: float) -> int:
    """Whole days to an event of constant hazard, at least one."""
    return max(1, int(draw.exponential(1 / per_month) * DAYS_A_MONTH))


def _day(origin: dt.date, days: int, last: int) -> str:
    return (origin + dt.timedelta(days)).isoformat() if days <= last else ""


def _flag(value: object) -> str:
    return "1" if value else "0"


def _mapping(name: str) -> str:
    return resources.files("tailort.phantom").joinpath(f"data/cohort-{name}.yaml").read_text(encoding="utf-8")
