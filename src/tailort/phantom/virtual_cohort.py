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
from typing import Any

import numpy as np

from tailort.phantom.virtual_cohort_facts import SOURCE, Row, days_to_event, flag, last_fraction, of_facts
from tailort.phantom.virtual_trial import (
    SALVAGE_LAST_DAY,
    SALVAGE_LOST_PER_MONTH,
    SALVAGE_ONE_YEAR_SURVIVAL,
    SALVAGE_PROGRESSION_PER_MONTH,
    SALVAGE_SHARE_ENI,
    TERMS,
    SalvagePatient,
    death_per_month,
)

SPINE_FAILURE_PER_MONTH, SPINE_DEATH_PER_MONTH, SPINE_FRACTURE_PER_MONTH = 0.040, 0.048, 0.020
SPINE_LAST_DAY = dt.date(2023, 9, 30)
SPINE_FIRST_ENTRY = dt.date(2016, 1, 11)


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
    draw, facts = np.random.default_rng(seed), of_facts(seed)
    rows = [_spine_patient(draw, facts, n) for n in range(1, patients + 1)]
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


def _spine_patient(draw: np.random.Generator, facts: np.random.Generator, number: int) -> Row:
    span = (SPINE_LAST_DAY - SPINE_FIRST_ENTRY).days - 365
    diagnosis = SPINE_FIRST_ENTRY + dt.timedelta(int(draw.integers(span)))
    sbrt = diagnosis + dt.timedelta(int(draw.integers(8, 35)))
    follow_up = (SPINE_LAST_DAY - sbrt).days
    death, failure, fracture = (
        days_to_event(draw, rate) for rate in (SPINE_DEATH_PER_MONTH, SPINE_FAILURE_PER_MONTH, SPINE_FRACTURE_PER_MONTH)
    )
    last = min(death, follow_up)
    high = bool(draw.random() < 0.2)
    dosimetry = bool(draw.random() < 0.75)
    worst = float(draw.normal(150.0, 28.0))
    taken = last_fraction(facts)
    return {
        "source": SOURCE,
        "id": f"V-{number:02d}",
        "age": str(int(np.clip(draw.normal(66, 9), 35, 88))),
        "sex": str(draw.choice(["M", "F"], p=[0.6, 0.4])),
        "kps": str(draw.choice([60, 70, 80, 90], p=[0.15, 0.3, 0.35, 0.2])),
        "oligo": flag(draw.random() < 0.45),
        "bilsky": str(draw.choice(["1a", "1b", "1c", "2", "3"], p=[0.1, 0.15, 0.25, 0.3, 0.2])),
        "sins": str(int(draw.integers(4, 15))),
        "surgery": str(draw.choice(["none", "decompression and stabilisation"], p=[0.5, 0.5])),
        "prior_dose": "70" if high else str(draw.choice(["50", "60", "66"], p=[0.2, 0.6, 0.2])),
        "mescc": diagnosis.isoformat(),
        "sbrt": sbrt.isoformat(),
        "sbrt_end": "" if taken is None else (sbrt + dt.timedelta(min(taken, last))).isoformat(),
        "failure": _day(sbrt, failure, last),
        "fracture": _day(sbrt, fracture, last),
        "dead": flag(death <= follow_up),
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
    draw, facts = np.random.default_rng(seed), of_facts(seed)
    elective = round(patients * SALVAGE_SHARE_ENI)
    rows = [
        row
        for n in range(1, patients + 1)
        for row in SalvagePatient.drawn(draw, n, "ENI" if n <= elective else "IFI").rows(draw, facts)
    ]
    truth = {
        "synthetic": True,
        "seed": seed,
        "patients": {"ENI": elective, "IFI": patients - elective},
        "death_per_month": {arm: death_per_month(arm) for arm in SALVAGE_ONE_YEAR_SURVIVAL},
        "progression_per_month": SALVAGE_PROGRESSION_PER_MONTH,
        "lost_per_month": SALVAGE_LOST_PER_MONTH,
        "survival_at_12_months": SALVAGE_ONE_YEAR_SURVIVAL,
        "progression_free_at_12_months": {
            arm: math.exp(-12 * (death_per_month(arm) + SALVAGE_PROGRESSION_PER_MONTH[arm]))
            for arm in SALVAGE_ONE_YEAR_SURVIVAL
        },
        "chance_of_grades_0_to_4": {term: list(chances) for term, chances in TERMS.items()},
    }
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return VirtualCohort("salvage", "salvage-crt", columns, tuple(rows), _mapping("salvage"), SALVAGE_LAST_DAY, truth)


def _day(origin: dt.date, days: int, last: int) -> str:
    return (origin + dt.timedelta(days)).isoformat() if days <= last else ""


def _mapping(name: str) -> str:
    return resources.files("tailort.phantom").joinpath(f"data/cohort-{name}.yaml").read_text(encoding="utf-8")
