"""Patients of a virtual salvage trial, with visits, adverse events, lesions, courses and cycles; hazards are known."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tailort.phantom.virtual_cohort_facts import (
    DAYS_A_MONTH,
    EXAMINED_MONTHS,
    SOURCE,
    Row,
    before_treatment,
    checked_before_cycle,
    days_to_event,
    flag,
    reader_words,
    recovered,
    weight_before,
)

SALVAGE_FIRST_ENTRY, SALVAGE_LAST_ENTRY = dt.date(2018, 11, 5), dt.date(2022, 11, 4)
SALVAGE_LAST_DAY = dt.date(2024, 11, 29)
SALVAGE_ONE_YEAR_SURVIVAL = {"ENI": 0.70, "IFI": 0.60}
SALVAGE_PROGRESSION_PER_MONTH = {"ENI": 0.045, "IFI": 0.055}
SALVAGE_LOST_PER_MONTH = 0.004
SALVAGE_SHARE_ENI = 83 / 282
VISIT_MONTHS = (*range(3, 25, 3), *range(30, 61, 6), 72)
FRACTIONS, DOSE_GY = 28, 59.92
SECOND_CYCLE_DAY = 21
TERMS = {
    "Esophagitis": (0.25, 0.35, 0.28, 0.10, 0.02),
    "Neutrophil count decreased": (0.35, 0.20, 0.22, 0.15, 0.08),
    "Platelet count decreased": (0.60, 0.20, 0.12, 0.06, 0.02),
    "Pneumonitis": (0.62, 0.22, 0.12, 0.035, 0.005),
    "Nausea": (0.45, 0.35, 0.15, 0.05, 0.0),
}
"""Chance of each grade, 0 to 4."""
HAEMATOLOGICAL = ("Neutrophil count decreased", "Platelet count decreased")


class SalvagePatient(NamedTuple):
    """What is drawn once a patient; days count from the start of treatment.

    Two streams: `draw` of outcomes, and `facts` of what does not bear on them.
    """

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
    def drawn(draw: np.random.Generator, number: int, arm: str) -> SalvagePatient:
        """Draw one patient of an arm."""
        span = (SALVAGE_LAST_ENTRY - SALVAGE_FIRST_ENTRY).days
        start = SALVAGE_FIRST_ENTRY + dt.timedelta(int(draw.integers(span + 1)))
        death, progression = (
            days_to_event(draw, death_per_month(arm)),
            days_to_event(draw, SALVAGE_PROGRESSION_PER_MONTH[arm]),
        )
        lost = days_to_event(draw, SALVAGE_LOST_PER_MONTH)
        seen = min((SALVAGE_LAST_DAY - start).days, lost)
        last = min(death, seen)
        fractions = FRACTIONS if last > 45 and draw.random() < 0.93 else int(min(FRACTIONS - 1, 5 + last // 2))
        weight = float(np.clip(draw.normal(60, 9), 40, 95))
        return SalvagePatient(f"T-{number:03d}", arm, start, death, progression, last, death <= seen, fractions, weight)

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

    def rows(self, draw: np.random.Generator, facts: np.random.Generator) -> list[Row]:
        """Every row of the patient; `facts` draws what does not bear on outcomes."""
        grades = {term: int(draw.choice(5, p=chances)) for term, chances in TERMS.items()}
        worst_blood = max(grades[term] for term in HAEMATOLOGICAL)
        second = {3: 80, 4: 0}.get(worst_blood, 100)
        cycles = [(1, 0, 100), (2, SECOND_CYCLE_DAY, second)] if self.last >= SECOND_CYCLE_DAY else [(1, 0, 100)]
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
            outside=flag(draw.random() < (0.35 if self.arm == "ENI" else 0.5)) if progressed else "",
            dead=flag(self.died),
            death=self.on(self.death) if self.died else "",
            last_seen=self.on(self.last),
            completed=flag(completed),
        )
        events, visits = self._adverse_events(draw, grades), self._visits(draw)
        lesions = self._lesions(draw, visits)
        self._told_before_cycle(facts, patient, events)
        self._read(facts, visits, lesions)
        weighed = self.row("visit", visit_day=self.on(-7), weight=weight_before(facts, self.weight_kg))
        return [
            {**patient, **before_treatment(facts)},
            self.row(
                "course", course="salvage", course_first=self.on(0), course_last=self.on(self.end),
                planned_dose=f"{DOSE_GY:g}", dose=f"{DOSE_GY * self.fractions / FRACTIONS:.2f}",
                planned_fractions=str(FRACTIONS), fractions=str(self.fractions),
            ),
            *(
                self.row("cycle", cycle=str(n), cycle_day=self.on(day), percent=str(percent))
                for n, day, percent in cycles
            ),
            *events,
            weighed,
            *visits,
            *lesions,
        ]  # fmt: skip

    def _adverse_events(self, draw: np.random.Generator, grades: Mapping[str, int]) -> list[Row]:
        found = []
        for term, grade in grades.items():
            day = int(draw.integers(5, 20)) if term in HAEMATOLOGICAL else int(draw.integers(10, 90))
            if grade == 0 or day > self.last:
                continue
            cells = {"term": term, "grade": str(grade), "event_day": self.on(day), "serious": flag(grade == 4)}
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
                    ct=flag(draw.random() < 0.95), ultrasound=flag(draw.random() < 0.85),
                    swallow=flag(draw.random() < 0.8),
                )
            )  # fmt: skip
        return found

    def _told_before_cycle(self, facts: np.random.Generator, patient: Row, events: list[Row]) -> None:
        """Add what was looked for before the second cycle and not found, and whether toxicity had recovered."""
        before = self.on(SECOND_CYCLE_DAY - 1)
        found = {row["term"]: int(row["grade"]) for row in events if row["event_day"] <= before}
        checked = checked_before_cycle(facts, found, TERMS)
        patient["recovered"] = recovered(facts, found) if self.last >= SECOND_CYCLE_DAY else ""
        if self.last >= SECOND_CYCLE_DAY:
            events += [
                self.row("adverse event", term=term, grade=str(grade), event_day=before, serious="0")
                for term, grade in checked.items()
            ]

    def _read(self, facts: np.random.Generator, visits: list[Row], lesions: list[Row]) -> None:
        """Add what the reader of each examination said, at the visit of that day."""
        progression = self.on(self.progression)
        for day in sorted({row["lesion_day"] for row in lesions if row["lesion_day"] > self.on(0)}):
            words = reader_words(facts, day == progression)
            visit = next((row for row in visits if row["visit_day"] == day), None)
            if visit is None:
                visits.append(self.row("visit", visit_day=day, ct="1", **words))
            else:
                visit.update(words)

    def _lesions(self, draw: np.random.Generator, visits: list[Row]) -> list[Row]:
        """Lesions before treatment, at visits of examinations, and where progression was found."""
        size = float(draw.uniform(18, 45))
        best = size * float(draw.uniform(0.3, 0.95))
        days = {-12: size}
        for row in visits:
            if int(row["month"]) in EXAMINED_MONTHS:
                days[(dt.date.fromisoformat(row["visit_day"]) - self.start).days] = best
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


def death_per_month(arm: str) -> float:
    """Hazard of death of an arm."""
    return -math.log(SALVAGE_ONE_YEAR_SURVIVAL[arm]) / 12
