"""`tailort demo cohort`: two synthetic cohorts from the table to the report, with the truth beside the estimates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tailort.cli.cohort_commands import MAPPING
from tailort.cli.cohort_input import read_cohort
from tailort.cli.cohort_write import write_cohort_analysis
from tailort.cli.run_files import hash_inputs, write_json
from tailort.cli.run_folder import whole_folder
from tailort.cli.versions import run_versions
from tailort.cli.write_cohort import write_virtual_cohort
from tailort.phantom.virtual_cohort import VirtualCohort, salvage_cohort, spine_cohort
from tailort.protocols import load
from tailort.web.cohort_cells import interval_told
from tailort.workflow.clock import StageClock
from tailort.workflow.cohort_analysis import analyse
from tailort.workflow.cohort_records import CohortAnalysis, CohortOptions

COHORT, CASE = "cohort", "case"
ASKED = {
    "spine": CohortOptions(by="oligo_recurrence", event_for_doses="treatment_related_death"),
    "salvage": CohortOptions(by="irradiation", subgroups=("sex",)),
}
"""What is asked of each; the spine study has no two treatments, so that no subgroups are tested in it."""
ARMS = {"ENI": "elective nodal irradiation", "IFI": "involved-field irradiation"}


@dataclass(frozen=True)
class TrueRate:
    """One rate that a cohort was drawn with, and what was estimated.

    Parameters
    ----------
    cohort, endpoint, group : str
        Of what; no group is the whole cohort.
    months : float
        At which time.
    truth : float
        Share of 1.
    estimate, lower, upper : float or None
        With its 95 % interval.
    note : str
        How the two differ in what they are.
    """

    cohort: str
    endpoint: str
    group: str
    months: float
    truth: float
    estimate: float | None
    lower: float | None
    upper: float | None
    note: str = ""

    @property
    def within(self) -> bool | None:
        """Whether the truth lies in the interval; None where there is none."""
        if self.lower is None or self.upper is None:
            return None
        return self.lower <= self.truth <= self.upper


@dataclass(frozen=True, eq=False)
class CohortDemo:
    """Both cohorts as analysed, and their truth beside the estimates."""

    analysed: Mapping[str, CohortAnalysis]
    truth: tuple[TrueRate, ...]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"rates": [{**asdict(one), "within": one.within} for one in self.truth]}


def demo_cohort(out: Path, seed: int, overwrite: bool, clock: StageClock) -> CohortDemo:
    """Write and analyse the synthetic cohorts of the spine study and of the salvage trial.

    Parameters
    ----------
    out : Path
        Gets `spine` and `salvage`, each a run folder with its table in `case`, and truth-comparison.json.
    seed : int
        0 is that of the shipped cohorts.
    overwrite : bool
        Whether an earlier result may be replaced.
    clock : StageClock
        Times the stages.
    """
    analysed, rates = {}, []
    given = {"seed": seed} if seed else {}
    with whole_folder(out, overwrite=overwrite) as staging:
        for cohort in (spine_cohort(**given), salvage_cohort(**given)):
            folder = staging / cohort.name
            case = folder / CASE
            case.mkdir(parents=True)
            with clock.stage(f"{cohort.name}: write the table"):
                table = write_virtual_cohort(cohort, case)
            found, true = _analysed(cohort, table, folder, clock)
            analysed[cohort.name] = found
            rates += true
        result = CohortDemo(analysed, tuple(rates))
        write_json(staging / "truth-comparison.json", result.as_dict())
        write_json(staging / "run.json", {**run_versions(), "options": {"demo": COHORT, "seed": seed}})
    return result


def show_demo(result: CohortDemo, out: Path) -> None:
    """Print each true rate beside its estimate."""
    for one in result.truth:
        estimate = interval_told(one.estimate, one.lower, one.upper)
        where = f"{one.cohort}, {one.endpoint}{', ' * bool(one.group)}{one.group}"
        print(f"{where}, {one.months:g} months: true {100 * one.truth:.1f} %, estimated {estimate}")
    for name in result.analysed:
        print(f"report: {out / name / 'report.html'}")


def _analysed(
    cohort: VirtualCohort, table: Path, folder: Path, clock: StageClock
) -> tuple[CohortAnalysis, list[TrueRate]]:
    protocol = load(cohort.protocol)
    read = read_cohort(table, table.parent / MAPPING, protocol=protocol, today=cohort.last_day)
    options = ASKED[cohort.name]
    result = analyse(read.patients, protocol, read.endpoints, options, cohort.last_day, clock)
    rates = _truth(cohort, result)
    described = {"demo": COHORT, "protocol": protocol.id, "by": options.by, "event_for_doses": options.event_for_doses}
    write_cohort_analysis(result, folder, described, hash_inputs(table.parent), clock, before=[_section(cohort, rates)])
    return result, rates


def _truth(cohort: VirtualCohort, result: CohortAnalysis) -> list[TrueRate]:
    """True rates of a cohort beside the estimates."""
    truth = cohort.truth
    if cohort.name == "spine":
        since = "the truth counts from SBRT, the estimate from diagnosis"
        return [
            _true(result, "local failure", "", truth["local_failure_at_12_months_from_sbrt"], ""),
            _true(result, "overall survival", "", truth["survival_at_12_months_from_sbrt"], since),
        ]
    return [
        _true(result, endpoint, ARMS[arm], rate, "")
        for endpoint, key in (
            ("overall survival", "survival_at_12_months"),
            ("progression-free survival", "progression_free_at_12_months"),
        )
        for arm, rate in truth[key].items()
    ]  # fmt: skip


def _true(result: CohortAnalysis, endpoint: str, group: str, truth: float, note: str) -> TrueRate:
    found = next(one for one in result.endpoints if one.endpoint.name == endpoint)
    assert found.overall is not None
    outcome = next(one for one in (found.overall, *found.groups) if one.name == group)
    rate = outcome.rates[0]
    cohort = "salvage" if group else "spine"
    return TrueRate(cohort, endpoint, group, rate.time, truth, rate.estimate, rate.lower, rate.upper, note)


def _section(cohort: VirtualCohort, rates: list[TrueRate]) -> dict[str, Any]:
    """First section of the report: that nobody of these patients lives, and what is true of them."""
    rows = []
    for one in rates:
        estimate = interval_told(one.estimate, one.lower, one.upper)
        inside = {True: "yes", False: "no", None: "no interval"}[one.within]
        rows.append((one.endpoint, one.group or "all patients", f"{one.months:g} months", f"{100 * one.truth:.1f} %",
                     estimate, inside, one.note))  # fmt: skip
    table = {
        "title": "True rates beside the estimates",
        "note": "Intervals of 95 %: one truth in twenty lies outside its interval.",
        "header": ("endpoint", "patients", "at", "true", "estimated", "within the interval", "remark"),
        "rows": rows,
    }
    lines = [f"Every patient of this cohort was drawn by a computer (seed {cohort.truth['seed']}); none is a person."]
    return {"title": "A synthetic cohort", "lines": lines, "pictures": [], "tables": [table]}
