"""A protocol: its rules, and the records that planning works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from tailort.errors import ProtocolError
from tailort.geometry import PatientPosition
from tailort.patient import Constraint, Normalisation, Prescription, StructureSet
from tailort.protocols.checks import CheckResult, judge
from tailort.protocols.condition import of_reading
from tailort.protocols.consistency import mistakes, shared_limits
from tailort.protocols.overlay_records import Overlay
from tailort.protocols.phases import course_gy
from tailort.protocols.recipe import StepEntry
from tailort.protocols.schema import (
    ComparatorEntry,
    LimitEntry,
    PositionEntry,
    PreferredTechnique,
    PrescriptionEntry,
    ProtocolFile,
    ReportEntry,
    Rule,
    Supplement,
    Technique,
)
from tailort.radiobiology import in_its_quantity
from tailort.targets import Step, require_inputs

Conditional = TypeVar("Conditional", StepEntry, Supplement, PositionEntry, PreferredTechnique, LimitEntry)


@dataclass(frozen=True)
class ReportMetric:
    """A metric that is reported without a limit."""

    structure: str
    metric: str
    source: str = ""


@dataclass(frozen=True)
class Comparator:
    """The plan that a protocol's plan is compared with on the same patient.

    Parameters
    ----------
    title : str
        What it is.
    target_steps : tuple of Step
        The protocol's steps, then those of the comparator.
    prescriptions, constraints, report : tuple
        As of the protocol; limits on the protocol's own targets are left out.
    course : tuple of Prescription
        What each target gets in all phases.
    rules : tuple of str
        Ids of the rules it rests on.
    technique : Technique or None
        How its dose is delivered; None is as the protocol's.
    """

    title: str
    target_steps: tuple[Step, ...]
    prescriptions: tuple[Prescription, ...]
    constraints: tuple[Constraint, ...]
    report: tuple[ReportMetric, ...]
    rules: tuple[str, ...]
    course: tuple[Prescription, ...]
    technique: Technique | None = None


@dataclass(frozen=True)
class Protocol:
    """A protocol that has been checked as a whole.

    Parameters
    ----------
    file : ProtocolFile
        What the file says.
    origin : str
        Where it was read from, for messages and reports.
    overlays : tuple of Overlay
        What sites changed, the first one first; none for a protocol as it is printed.

    Raises
    ------
    ProtocolError
        When sections of the file contradict each other.
    """

    file: ProtocolFile
    origin: str = ""
    overlays: tuple[Overlay, ...] = ()

    def __post_init__(self) -> None:
        for place, fault in mistakes(self.file, as_written=False):
            raise ProtocolError(f"{self.origin or self.file.id}, {'.'.join(str(p) for p in place)}: {fault}")

    @property
    def id(self) -> str:
        """Name by which the protocol is called."""
        return self.file.id

    @property
    def version(self) -> str:
        """Version of the protocol file."""
        return self.file.version

    @property
    def title(self) -> str:
        """What it is, in one line."""
        return self.file.title

    @property
    def status(self) -> str:
        """Whether a clinician has confirmed it; empty when the file does not tell."""
        return self.file.status

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule with its source and mark."""
        return self.file.rules

    @cached_property
    def _rules_by_id(self) -> dict[str, Rule]:
        return {rule.id: rule for rule in self.file.rules}

    def rule(self, rule_id: str) -> Rule:
        """Return a rule by its id."""
        if rule_id in self._rules_by_id:
            return self._rules_by_id[rule_id]
        known = ", ".join(rule.id for rule in self.file.rules) or "none"
        raise ProtocolError(f"protocol '{self.id}' has no rule '{rule_id}'; its rules are: {known}")

    @property
    def technique(self) -> Technique:
        """How the dose is delivered.

        Raises
        ------
        ProtocolError
            When the protocol only proposes and prescribes nothing.
        """
        if self.file.technique is None:
            raise self._prescribes_nothing()
        return self.file.technique

    def techniques(self) -> tuple[Technique, ...]:
        """Techniques in the order in which they are tried: the first whose plan keeps every hard limit is taken.

        When none keeps them, the last one is: that of the file.
        """
        preferred = self._decided("preferred technique", [self.file.preferred] if self.file.preferred else [])
        return (*(entry.technique for entry in preferred), self.technique)

    def supplements(self) -> tuple[Supplement, ...]:
        """Fields that bring a region up to a dose which the phases leave it short of."""
        return tuple(self._decided("supplements", self.file.supplements))

    def position_note(self, position: PatientPosition) -> str:
        """Return what a reader must know of how the patient lies; empty where the protocol recommends it or is silent.

        Parameters
        ----------
        position : str
            HFS, HFP, FFS or FFP.
        """
        asked = self._decided("positions", self.file.positions)
        lies = "prone" if position.endswith("P") else "supine"
        if not asked or lies in {entry.patient for entry in asked}:
            return ""
        rules = ", ".join(dict.fromkeys(rule for entry in asked for rule in entry.rules))
        told = " or ".join(dict.fromkeys(entry.patient for entry in asked))
        return (
            f"the patient lies {lies} ({position}); protocol '{self.id}' recommends {told}{f' ({rules})' * bool(rules)}"
        )

    def target_steps(self) -> tuple[Step, ...]:
        """Steps by which targets and helper structures are made, in order; none when they are drawn.

        Raises
        ------
        ProtocolError
            When some are for some patients only: `for_patient` decides which.
        """
        return tuple(entry.record() for entry in self._decided("volumes", self.file.targets))

    def steps_for_all(self) -> tuple[Step, ...]:
        """Steps that are the same for every patient: none that is, or needs, a volume of some patients only."""
        some: set[str] = set()
        steps = []
        for entry in self.file.targets:
            step = entry.record()
            if entry.when is not None or any(name.lower() in some for part in step.inputs() for name in part):
                some.add(step.name.lower())
            else:
                steps.append(step)
        return tuple(steps)

    def course_gy(self, target: str) -> float:
        """Physical dose that is prescribed to a target in the whole course, Gy, with that of the one it boosts."""
        return course_gy(self._prescribed(), target)

    def prescriptions(self) -> tuple[Prescription, ...]:
        """Doses to targets, phase by phase as the file gives them."""
        return self._prescriptions(self._prescribed())

    def painted(self) -> tuple[PrescriptionEntry, ...]:
        """Prescriptions of which an image tells what each point gets."""
        return tuple(entry for entry in self._prescribed() if entry.painted is not None)

    def course(self) -> tuple[Prescription, ...]:
        """What each target gets in all phases, with the dose of the target that it boosts: what a course is judged by.

        The number of fractions is that of the target's last phase; the sum has none of its own.
        """
        return self._course(self._prescribed())

    @property
    def phases(self) -> tuple[int, ...]:
        """Numbers of the phases of the course, 1 first."""
        return tuple(sorted({entry.phase for entry in self._prescribed()}))

    def constraints(self) -> tuple[Constraint, ...]:
        """Limits; those in percent of a prescription are turned into Gy per course."""
        return self._constraints(self.limits(), self._prescribed())

    def limits(self) -> tuple[LimitEntry, ...]:
        """Limits as the file has them; of a protocol that is not decided yet those of the default readings.

        Raises
        ------
        ProtocolError
            When some are for some patients only: `for_patient` decides which.
        """
        values = {of_reading(choice.rule): choice.default for choice in self.file.readings}
        kept = []
        for limit in self.file.limits:
            answer = "yes" if limit.when is None else limit.when.evaluate(values).answer
            if answer == "unknown":
                self._decided("limits", [limit])
            if answer == "yes":
                kept.append(limit)
        return tuple(kept)

    def report_metrics(self) -> tuple[ReportMetric, ...]:
        """Metrics that are reported without a limit, and those by which amendments are measured."""
        reported = self._report(self.file.report)
        told = {(metric.structure.lower(), metric.metric) for metric in reported}
        return (
            *reported,
            *(
                ReportMetric(entry.structure, entry.metric, ", ".join(entry.rules))
                for entry in self.file.amendments
                if (entry.structure.lower(), entry.metric) not in told
            ),
        )

    def comparator(self) -> Comparator | None:
        """Return the plan to compare with, or None when the file names none."""
        other = self._comparator()
        if other is None:
            return None
        return Comparator(
            title=other.title,
            target_steps=self.target_steps() + tuple(entry.record() for entry in other.targets),
            prescriptions=self._prescriptions(other.prescriptions),
            constraints=self._constraints(
                (*other.limits, *shared_limits(self.file.model_copy(update={"limits": self.limits()}))),
                other.prescriptions,
            ),
            report=self._report(other.report),
            rules=other.rules,
            course=self._course(other.prescriptions),
            technique=other.technique,
        )

    def checks(self) -> tuple[CheckResult, ...]:
        """Return the results of the protocol's own checks of its prescriptions; a loaded protocol passes all."""
        courses = [plan.prescriptions for plan in self.file.plans] or [self.file.prescriptions]
        return tuple(result for course in courses for check in self.file.checks for result in judge(check, course))

    def structures_needed(self) -> tuple[str, ...]:
        """Structures without which no plan can be made.

        Targets, what fields open for or avoid, the file's `organs`, organs with a hard limit.
        """
        names = [entry.target for entry in self._prescribed()]
        if (other := self._comparator()) is not None:
            names += [entry.target for entry in other.prescriptions]
        names += [entry.target for entry in self.file.supplements if entry.when is None]
        names += self.file.organs
        for technique in self._every_technique():
            names += [name for name in (technique.aperture_target, technique.avoid) if name is not None]
            if technique.hand_over is not None:
                names.append(technique.hand_over.structure)
        names += [limit.structure for limit in self.file.limits if limit.priority == "hard" and not limit.if_drawn]
        return tuple(dict.fromkeys(names))

    def where_drawn(self, structures: StructureSet) -> Protocol:
        """Return the protocol without limits that hold only where a structure is drawn, and it is not."""
        there = {s.name.lower() for s in structures if not s.is_empty}
        for step in self.file.targets:
            # A step that names only what may be drawn makes nothing where none of it is.
            if step.of or step.stations is not None or any(name.lower() in there for name in step.if_drawn):
                there.add(step.name.lower())
        kept = tuple(limit for limit in self.file.limits if not limit.if_drawn or limit.structure.lower() in there)
        if len(kept) == len(self.file.limits):
            return self
        return replace(self, file=self.file.model_copy(update={"limits": kept}))

    def require_structures(self, structures: StructureSet) -> None:
        """Refuse a structure set in which something is neither drawn nor can be made.

        Raises
        ------
        MissingStructureError
            Listing all that is missing, what for, and what is there.
        """
        other = self.comparator()
        require_inputs(other.target_steps if other else self.target_steps(), structures, self.structures_needed())

    def _comparator(self) -> ComparatorEntry | None:
        """None beside a painted plan: that is held against the same mean dose everywhere, which the image tells."""
        return None if self.painted() else self.file.comparator

    def _every_technique(self) -> tuple[Technique, ...]:
        """Techniques that a plan may need, phase by phase."""
        preferred, other = self.file.preferred, self._comparator()
        courses = [(self.technique, self.file.prescriptions)]
        if preferred is not None and preferred.when is None:
            courses.append((preferred.technique, self.file.prescriptions))
        if other is not None and other.technique is not None:
            courses.append((other.technique, other.prescriptions))
        return tuple(
            made
            for technique, prescribed in courses
            for made in (technique, *(technique.of_phase(n) for n in sorted({entry.phase for entry in prescribed})))
        )

    def _prescribes_nothing(self) -> ProtocolError:
        return ProtocolError(
            f"protocol '{self.id}' proposes and prescribes nothing: plan and judge with one that prescribes, and ask "
            f"this one with 'tailort decide RECORD.yaml --protocol {self.id}'"
        )

    def _prescribed(self) -> tuple[PrescriptionEntry, ...]:
        if self.file.only_proposes:
            raise self._prescribes_nothing()
        if self.file.plans:
            told = ", ".join(plan.id for plan in self.file.plans)
            raise ProtocolError(
                f"which of the plans of protocol '{self.id}' ({told}) is this patient's is known only with a clinical "
                "record"
            )
        return self.file.prescriptions

    def _prescriptions(self, entries: Sequence[PrescriptionEntry]) -> tuple[Prescription, ...]:
        made = []
        for entry in entries:
            tied = entry.normalisation or self.file.normalisation
            if entry.painted is not None:
                # By its mean, which is known with the patient's image; until then the least dose stands for it.
                record = Normalisation("coverage", metric="Mean[Gy]")
            else:
                assert tied is not None  # `mistakes` has seen to it
                record = tied.record()
            made.append(Prescription(entry.target, entry.dose_gy, entry.fractions, record, entry.phase))
        return tuple(made)

    def _course(self, entries: Sequence[PrescriptionEntry]) -> tuple[Prescription, ...]:
        last = {p.target: p for p in self._prescriptions(entries)}
        return tuple(replace(p, dose_gy=course_gy(entries, name)) for name, p in last.items())

    def _constraints(
        self, limits: Sequence[LimitEntry], prescribed: Sequence[PrescriptionEntry]
    ) -> tuple[Constraint, ...]:
        made = []
        for limit in limits:
            source = self._source(limit.rule)
            value = limit.limit
            if limit.percent_of is not None:
                whole = course_gy(prescribed, limit.percent_of)
                value = round(whole * limit.limit / 100, 6)
                source += f"; {limit.limit:g} % of the {whole:g} Gy of {limit.percent_of}"
            for overlay in self.overlays:
                source += "".join(f"; {change.noted(overlay.id)}" for change in overlay.changes if change.made(limit))
            if limit.note:
                source += f"; {limit.note}"
            mark = limit.mark or (self.rule(limit.rule).mark if limit.rule else "")
            asked = in_its_quantity(
                Constraint(
                    structure=limit.structure,
                    metric=limit.metric,
                    operator=limit.operator,
                    limit=value,
                    priority=limit.priority,
                    source=source,
                    quantity=limit.quantity,
                    alpha_beta_gy=limit.alpha_beta_gy,
                    scope=limit.scope,
                    mark=mark,
                )
            )
            made.append(asked)
        return tuple(made)

    def _report(self, entries: Sequence[ReportEntry]) -> tuple[ReportMetric, ...]:
        return tuple(ReportMetric(entry.structure, entry.metric, self._source(entry.rule)) for entry in entries)

    def _decided(self, what: str, entries: Sequence[Conditional]) -> Sequence[Conditional]:
        if any(entry.when is not None for entry in entries):
            raise ProtocolError(
                f"the {what} of protocol '{self.id}' depend on the patient: they are known only with a clinical record"
            )
        return entries

    def _source(self, rule_id: str) -> str:
        return f"{rule_id}: {self.rule(rule_id).source}" if rule_id else f"{self.id} {self.version}"
