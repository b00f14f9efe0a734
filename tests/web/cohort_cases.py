"""Small cohorts for the report and the command: 21 patients of the spine study's shape, and those at the edge."""

from __future__ import annotations

import datetime as dt

import numpy as np

from tailort.cohort.patients import AdverseEvent, FollowedPatient
from tailort.patient import Fact
from tailort.protocols import load
from tailort.protocols.cohort_endpoints import endpoints_of
from tailort.protocols.records.table import AbsentFact
from tailort.workflow.cohort_analysis import analyse
from tailort.workflow.cohort_records import CohortAnalysis, CohortOptions

FIRST, LAST = dt.date(2018, 1, 8), dt.date(2023, 9, 30)
PROTOCOL = "reirradiation-spine"
MAX = "Esophagus Max[Gy] BED(a/b=3) cumulative"


def followed(
    name: str,
    died: int | None = None,
    failed: int | None = None,
    seen: int = 900,
    group: str | None = "a",
    dose: float | None = None,
    toxic: bool = False,
) -> FollowedPatient:
    """A patient whose events are told in days from SBRT, ten days after diagnosis."""
    start = FIRST + dt.timedelta(10)

    def day(days: int | None) -> dt.date | None:
        return None if days is None else start + dt.timedelta(days)

    told = {
        "mescc_date": FIRST, "sbrt_start_date": start, "death_date": day(died), "local_failure_date": day(failed),
        "last_follow_up_date": day(seen if died is None else died), "group": group, "age_years": 60 + len(name),
        "treatment_related_death": toxic,
    }  # fmt: skip
    facts = {
        key: AbsentFact(key, None, "table", None, "unknown", "") if value is None else Fact(key, value)
        for key, value in told.items()
    }
    events = (AdverseEvent("Esophageal fistula", 5, scale="CTCAE 5.0"),) if toxic else ()
    return FollowedPatient(name, facts, events, metrics={} if dose is None else {MAX: dose})


def study() -> list[FollowedPatient]:
    """21 patients, one with severe toxicity at the highest dose."""
    draw = np.random.default_rng(21)
    patients = []
    for n in range(21):
        death, failure = (int(draw.exponential(days)) + 2 for days in (500, 900))
        dose = 210.0 if n == 4 else float(draw.uniform(120, 200))
        patients.append(
            followed(
                f"V-{n:02d}", death if death < 900 or n == 4 else None, failure if failure < min(death, 900) else None,
                group="ab"[n % 2], dose=dose, toxic=n == 4,
            )
        )  # fmt: skip
    return patients


def analysed(patients: list[FollowedPatient], **options) -> CohortAnalysis:
    protocol = load(PROTOCOL)
    endpoints = endpoints_of(protocol.file.endpoints, protocol.file)
    return analyse(patients, protocol, endpoints, CohortOptions(**options), LAST)


EDGES = {
    "all censored": [followed(f"P{n}", group="ab"[n % 2]) for n in range(8)],
    "a group with no event": [
        *(followed(f"A{n}", died=100 * n + 50, group="a") for n in range(5)),
        *(followed(f"B{n}", group="b") for n in range(5)),
    ],
    "one patient": [followed("P1", died=200)],
    "a group of one": [*(followed(f"A{n}", died=90 * n + 30, group="a") for n in range(6)), followed("B", group="b")],
    "no known group but one": [followed("A", died=40), *(followed(f"N{n}", died=99 + n, group=None) for n in range(4))],
    "all die at once": [followed(f"P{n}", died=300, group="ab"[n % 2]) for n in range(6)],
    "one event at which one group alone is left": [
        followed("A1", seen=10, group="a"), followed("A2", seen=20, group="a"), followed("B1", died=300, group="b"),
        followed("B2", seen=400, group="b"),
    ],
    "one dies first and another group alone is left": [
        *(followed(f"C{n}", died=days, group="c") for n, days in enumerate((689, 550, 304))),
        followed("B", died=0, failed=0, group="b"),
        followed("A", seen=0, group="a"),
        followed("C", seen=600, group="c"),
    ],
    "death on the first day": [followed("P0", died=0, group="a"), followed("P1", died=10, group="b"), followed("P2")],
}  # fmt: skip
