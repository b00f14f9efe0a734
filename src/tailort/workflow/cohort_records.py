"""What is asked of a cohort, and what its analysis gives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from tailort.cohort.adverse_events import GradeTable
from tailort.cohort.cox import CoxFit, ProportionalHazards
from tailort.cohort.dose_comparison import DoseComparison
from tailort.cohort.incidence import CumulativeIncidence
from tailort.cohort.observed import Rate
from tailort.cohort.patients import FollowedPatient, TimesToEvent
from tailort.cohort.proportions import Proportion, TableTest
from tailort.cohort.subgroups import Subgroups
from tailort.cohort.summaries import Characteristic
from tailort.cohort.survival import Quantile, SurvivalCurve
from tailort.errors import InputError
from tailort.protocols import Protocol
from tailort.protocols.cohort_endpoints import Endpoint
from tailort.workflow.clock import Stage
from tailort.workflow.trial_grades import Unlisted
from tailort.workflow.trial_modifications import UNLISTED_READINGS
from tailort.workflow.trial_running import TrialRunning

MONTHS_A_YEAR = 12.0
# A comparison of more groups than this is a table of patients.
MOST_GROUPS = 12


@dataclass(frozen=True)
class CohortOptions:
    """What is asked of a cohort.

    Parameters
    ----------
    by : str or None
        Fact by which groups are compared.
    strata : str or None
        Fact by which tests and models are stratified.
    until : date or None
        Follow-up is cut here.
    endpoints : tuple of str
        Names of the endpoints; empty is all that the protocol and the table define.
    event_for_doses : str or None
        Fact whose patients' doses are compared with those of the others.
    subgroups : tuple of str
        Facts by which the effect of `by` is tested for interaction.
    characteristics : tuple of str
        Facts of the first table; empty is all that can be summarised.
    course : str or None
        Name of the trial's course where patients have several.
    unlisted : {"grade 0", "unknown"}
        What a toxicity is of which a patient has no entry, for the rules of dose modification.
    seed : int
        Of the resampled patients of dose thresholds.
    """

    by: str | None = None
    strata: str | None = None
    until: dt.date | None = None
    endpoints: tuple[str, ...] = ()
    event_for_doses: str | None = None
    subgroups: tuple[str, ...] = ()
    characteristics: tuple[str, ...] = ()
    course: str | None = None
    unlisted: Unlisted = "unknown"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.unlisted not in UNLISTED_READINGS:
            raise InputError(f"a toxicity without an entry is '{self.unlisted}'; expected 'grade 0' or 'unknown'")
        if self.subgroups and self.by is None:
            raise InputError("subgroups ask whether the effect of a group differs: name its fact with --by")
        if self.by is not None and self.by in (self.strata, *self.subgroups):
            raise InputError(f"'{self.by}' makes the groups and cannot be a stratum or a subgroup of them too")


@dataclass(frozen=True, eq=False)
class GroupOutcome:
    """One endpoint in one group.

    Parameters
    ----------
    name : str
        Of the group; empty is the whole cohort.
    patients, events, censored : int
        How many they are, and how each ended.
    competing : tuple of int
        Patients with each competing event first.
    survival : SurvivalCurve or None
        Where nothing competes.
    incidence : CumulativeIncidence or None
        Where something does.
    median : Quantile or None
        Time by which half had the event; of survival alone.
    rates : tuple of Rate
        At the years of the protocol: event-free share, or cumulative incidence of the event.
    competing_rates : tuple of tuple of Rate
        Cumulative incidence of each competing event at the same times.
    follow_up : Quantile
        Median follow-up by reverse Kaplan-Meier.
    """

    name: str
    patients: int
    events: int
    censored: int
    competing: tuple[int, ...]
    survival: SurvivalCurve | None
    incidence: CumulativeIncidence | None
    median: Quantile | None
    rates: tuple[Rate, ...]
    competing_rates: tuple[tuple[Rate, ...], ...]
    follow_up: Quantile


@dataclass(frozen=True)
class GroupTest:
    """One test whether groups differ.

    Parameters
    ----------
    method : str
        Its name, with what it is stratified by.
    statistic, p_value : float or None
        None where it cannot be told.
    degrees_of_freedom : int
        Of the chi-squared distribution.
    asked : bool
        Whether the protocol names it.
    notes : tuple of str
        Why it cannot be told, and what else must be known.
    """

    method: str
    statistic: float | None
    degrees_of_freedom: int
    p_value: float | None
    asked: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class EndpointAnalysis:
    """One endpoint of a cohort.

    Parameters
    ----------
    endpoint : Endpoint
        As the protocol defines it.
    times : TimesToEvent or None
        None where the table does not tell it.
    unknown : str
        Why not.
    overall : GroupOutcome or None
        Of all patients.
    groups : tuple of GroupOutcome
        Of each group.
    ungrouped : int
        Patients whose group or stratum is not known; they count overall alone.
    tests : tuple of GroupTest
        Of the groups.
    hazards : CoxFit or None
        Of the groups against the first; where something competes, of the event with the others censored.
    reference : str
        The first group.
    stratified_by : str
        Fact of the strata of tests and hazards; empty without.
    proportional : ProportionalHazards or None
        Whether hazards are proportional.
    notes : tuple of str
        What must be known beside the numbers.
    """

    endpoint: Endpoint
    times: TimesToEvent | None
    unknown: str = ""
    overall: GroupOutcome | None = None
    groups: tuple[GroupOutcome, ...] = ()
    ungrouped: int = 0
    tests: tuple[GroupTest, ...] = ()
    hazards: CoxFit | None = None
    reference: str = ""
    stratified_by: str = ""
    proportional: ProportionalHazards | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupProportion:
    """How many patients of a group had something, with exact limits; None where it is known of nobody."""

    group: str
    proportion: Proportion | None


@dataclass(frozen=True)
class ProportionComparison:
    """A proportion in all patients and in each group.

    Parameters
    ----------
    what : str
        What was counted.
    overall : GroupProportion
        Of all patients.
    groups : tuple of GroupProportion
        Of each group.
    tests : tuple of TableTest
        Chi-square with and without continuity correction, Fisher.
    note : str
        Why there is no test.
    """

    what: str
    overall: GroupProportion
    groups: tuple[GroupProportion, ...] = ()
    tests: tuple[TableTest, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class AdverseEvents:
    """Adverse events of a cohort.

    Parameters
    ----------
    overall : GradeTable
        Of all patients.
    groups : mapping of str to GradeTable
        Of each group.
    compared : tuple of ProportionComparison
        Any event of grade 2 and higher, and of grade 3 and higher.
    """

    overall: GradeTable
    groups: Mapping[str, GradeTable]
    compared: tuple[ProportionComparison, ...]


@dataclass(frozen=True)
class DoseEvents:
    """Doses of patients with an event against those of the others.

    Parameters
    ----------
    event : str
        The fact.
    with_event, without, unknown : int
        Patients.
    metrics : tuple of DoseComparison
        One a dose metric.
    """

    event: str
    with_event: int
    without: int
    unknown: int
    metrics: tuple[DoseComparison, ...]


@dataclass(frozen=True, eq=False)
class CohortAnalysis:
    """A cohort, and what was found.

    Parameters
    ----------
    patients : tuple of FollowedPatient
        As read; with a cut-off those who had entered by then.
    protocol : Protocol or None
        By which its endpoints are defined.
    options : CohortOptions
        What was asked.
    today : date
        Day of the analysis: `until`, or the day on which it was made.
    groups : mapping of str to (str or None)
        Group of each patient, by pseudonym.
    characteristics : tuple of Characteristic
        First table.
    not_summarised : mapping of str to str
        Facts left out of it, and why.
    endpoints : tuple of EndpointAnalysis
        In the order of the protocol.
    subgroups : tuple of Subgroups
        One an endpoint.
    adverse_events : AdverseEvents or None
        None where the table has none.
    doses : DoseEvents or None
        Where they were asked for.
    trial : TrialRunning or None
        Visits, modifications, serious events, response, completion; None without a protocol.
    notes : tuple of str
        What a reader must know.
    stages : tuple of Stage
        Seconds.
    """

    patients: tuple[FollowedPatient, ...]
    protocol: Protocol | None
    options: CohortOptions
    today: dt.date
    groups: Mapping[str, str | None]
    characteristics: tuple[Characteristic, ...]
    not_summarised: Mapping[str, str]
    endpoints: tuple[EndpointAnalysis, ...]
    subgroups: tuple[Subgroups, ...]
    adverse_events: AdverseEvents | None
    doses: DoseEvents | None
    trial: TrialRunning | None
    notes: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = field(default=())
