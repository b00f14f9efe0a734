"""From the scans of a course to the dose that was given on the anatomy of today."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tailort.errors import InputError, UndecidedError
from tailort.patient import Case, Course, Dose, Plan, StructureSet
from tailort.protocols import Protocol
from tailort.registration import Registration, rigid
from tailort.targets import derive
from tailort.workflow.adaptation_asked import Asked, NewScan, spacing_of
from tailort.workflow.clock import StageClock
from tailort.workflow.cone_beam import corrected
from tailort.workflow.daily_doses import (
    PLANNED,
    TOLD_TURN_DEG,
    Day,
    OnScan,
    brought_here,
    dose_on,
    set_up,
    times_fractions,
)
from tailort.workflow.evaluating import for_this_patient
from tailort.workflow.propagating import outline_seen, structures_of_today
from tailort.workflow.recalculating import dose_of_plan
from tailort.workflow.registering import failures, judged_given, register_courses, registration_of


@dataclass(frozen=True, eq=False)
class CourseDoses:
    """Physical doses of the plans of a course, plan by plan in their order.

    Parameters
    ----------
    planned : tuple of Dose
        On the planning CT, each of all fractions of its plan.
    given : tuple of Dose
        On today's anatomy, one part for the fractions of a plan on a scan.
    here : tuple of Dose
        Of one fraction of each plan on today's anatomy.
    on_scans : dict of tuple of OnScan
        Each plan as it was set up on today's scan and on every one with fractions, by label.
    notes : tuple of str
        What a reader must know.
    """

    planned: tuple[Dose, ...]
    given: tuple[Dose, ...]
    here: tuple[Dose, ...]
    on_scans: Mapping[str, tuple[OnScan, ...]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """The steps from scans to doses."""

    asked: Asked
    clock: StageClock
    stop: Callable[[], bool]

    def corrected(self, new: Sequence[NewScan]) -> tuple[NewScan, ...]:
        """The new scans with CT numbers that a density table can read."""
        made = []
        for scan in new:
            with self.clock.stage(f"CT numbers of {scan.label}"):
                ct, told = corrected(scan.case.ct, self.asked.planned.ct, self.asked.hu_correction, scan.label)
            others = tuple(s for s in scan.case.scans if s is not scan.case.ct)
            notes = (*scan.case.notes, told) if told else scan.case.notes
            made.append(replace(scan, case=replace(scan.case, scans=(ct, *others), notes=notes)))
        return tuple(made)

    def scans(self, new: Sequence[NewScan]) -> Case:
        """Today's case with the scans before it as courses without a dose."""
        planned = self.asked.planned
        before = [Course(PLANNED, planned.ct, planned.structures, ())]
        before += [Course(scan.label, scan.case.ct, scan.case.structures, ()) for scan in new[:-1]]
        return replace(new[-1].case, courses=tuple(before))

    def registered(self, scans: Case) -> dict[str, Registration]:
        """From today's frame to that of each scan before, judged."""
        found = {}
        for course in scans.courses:
            made = self._registered(scans, course)
            if (failed := failures(made)) and not self.asked.insist:
                raise InputError(
                    f"the registration of today's CT with the {course.label} fails its own check "
                    f"({'; '.join(failed)}), so no dose is carried; look at the scans, or say --insist, which the "
                    "report then tells first"
                )
            found[course.label] = made
        return found

    def _registered(self, scans: Case, course: Course) -> Registration:
        assert course.scan is not None
        one, other = scans.ct.image, course.scan.image
        if one.grid.same_as(other.grid) and np.array_equal(one.values, other.values):
            return Registration.identity(one.grid.frame_of_reference)
        if course.label in self.asked.given:
            return judged_given(scans, course, self.asked.given[course.label], self.clock, self.stop)
        return registration_of(scans, course, self.clock, self.stop)

    def earlier(self, case: Case) -> dict[str, Registration]:
        """Registrations of earlier courses with today's CT."""
        if not case.courses:
            return {}
        return register_courses(case, self.clock, given=self.asked.given, insist=self.asked.insist, stop=self.stop)

    def structures(
        self, today: Case, back: Registration
    ) -> tuple[StructureSet, StructureSet, Protocol | None, str, tuple[str, ...]]:
        """Structures of the planning CT and of today with what the recipe makes, the protocol for the patient or why
        its limits are not judged, and notes.
        """
        planned, protocol, notes = self.asked.planned, self.asked.protocol, list(today.notes)
        own, unjudged = None, ""
        if protocol is not None:
            facts = planned if planned.facts else today
            try:
                _, own, told, _ = for_this_patient(facts, protocol, self.asked.options)
            except UndecidedError as error:
                if self.asked.replan == "yes":
                    raise
                unjudged = f"limits of protocol '{protocol.id}' are not judged: {error}"
            else:
                notes += told
        steps = () if own is None else own.target_steps()
        before = planned.structures
        if steps:
            before = derive(steps, before, planned.ct.image.grid.axes_mm()[0])
        made = structures_of_today(
            planned.structures, today.structures, back, today.ct.image, (step.name for step in steps), "today's CT",
            planned.ct.image.grid.spacing_mm[0],
        )  # fmt: skip
        lost = [s.name for s in made if s.is_empty and not before[s.name].is_empty]
        if lost:
            notes.append(f"carried to today's CT these have no volume there: {', '.join(lost)}")
        if steps:
            made = derive(steps, made, today.ct.image.grid.axes_mm()[0])
        own = None if own is None else own.where_drawn(made)
        return before, made, own, unjudged, tuple(notes)

    def doses(
        self,
        plans: Sequence[Plan],
        new: Sequence[NewScan],
        days: Sequence[Day],
        registrations: Mapping[str, Registration],
        planned_structures: StructureSet,
        structures: StructureSet,
    ) -> CourseDoses:
        """Doses of the plans of a course on the planning CT, on each scan with fractions, and on today's anatomy."""
        spacing_mm, today = spacing_of(self.asked), new[-1]
        planned, notes = self._planned(plans, planned_structures, spacing_mm)
        now, said = self._on_a_day(today, plans, registrations[PLANNED], structures, spacing_mm)
        notes += said
        here = tuple(one.dose for one in now)
        parts = list[Dose]()
        on_scans = {today.label: now}
        for day, scan in zip(days, (None, *new), strict=True):
            if day.fractions == 0:
                continue
            if scan is today:
                parts += [times_fractions(one, n) for one, n in zip(here, day.by_plan, strict=True) if n]
                continue
            if scan is None:
                own = tuple(OnScan(plan, _a_fraction(dose, plan)) for dose, plan in zip(planned, plans, strict=True))
            else:
                with self.clock.stage(f"set up on {scan.label}"):
                    at = self._turned(scan)
                drawn = scan.case.structures
                if not any(s.role == "EXTERNAL" for s in drawn):
                    drawn = drawn.with_structures(outline_seen(scan.case.ct.image, scan.label))
                own, said = self._on_a_day(scan, plans, at, drawn, spacing_mm)
                notes += said
            on_scans[day.label] = own
            beyond_cm3 = 0.0
            with self.clock.stage(f"carry the dose of {day.label}"):
                for one, n, reference in zip(own, day.by_plan, here, strict=True):
                    if n:
                        mapped, missing_cm3 = brought_here(one.dose, registrations[day.label], reference)
                        parts.append(times_fractions(mapped, n))
                        beyond_cm3 = max(beyond_cm3, missing_cm3)
            if beyond_cm3 > 0:
                notes += (
                    f"{beyond_cm3:.0f} cm3 of today's body lie beyond the dose of {day.label}; there its fractions "
                    "are counted as on today's CT",
                )
        return CourseDoses(planned, tuple(parts), here, on_scans, tuple(dict.fromkeys(notes)))

    def _planned(
        self, plans: Sequence[Plan], structures: StructureSet, spacing_mm: float
    ) -> tuple[tuple[Dose, ...], tuple[str, ...]]:
        """Doses of the plans on the planning CT by the engine of the others, Gy of all fractions of each plan."""
        asked, notes = self.asked, tuple[str, ...]()
        came = [dose_of_plan(asked.planned, plan) for plan in plans]
        kept = [dose for dose in came if dose is not None and dose.engine == asked.options.engine]
        if len(kept) == len(plans) and all(dose.image.grid.same_as(kept[0].image.grid) for dose in kept):
            return tuple(kept), ()
        found = list[Dose]()
        for plan, given in zip(plans, came, strict=True):
            with self.clock.stage(f"dose on the planning CT, {plan.label}") as tell:
                one, said = dose_on(
                    asked.planned, asked.planned.ct, structures, plan, asked.machine, asked.options, spacing_mm, tell
                )
            whole = times_fractions(one, plan.fractions)
            found.append(whole)
            notes += said
            if given is not None and given.engine != asked.options.engine:
                notes += (
                    f"the dose that came with plan '{plan.label}' is by engine '{given.engine}'; all doses here are "
                    f"computed by '{asked.options.engine}', the planned one too: highest "
                    f"{float(given.image.values.max()):.2f} Gy then, {float(whole.image.values.max()):.2f} Gy here",
                )
        return tuple(found), notes

    def _turned(self, scan: NewScan) -> Registration:
        """How the patient lies on the scan of a day, as image guidance sees it."""
        one, other = scan.case.ct.image, self.asked.planned.ct.image
        if one.grid.same_as(other.grid) and np.array_equal(one.values, other.values):
            return Registration.identity(one.grid.frame_of_reference)
        return rigid(one, other, metric="correlation", stop=self.stop)

    def _on_a_day(
        self, scan: NewScan, plans: Sequence[Plan], at: Registration, structures: StructureSet, spacing_mm: float
    ) -> tuple[tuple[OnScan, ...], tuple[str, ...]]:
        """Each plan as image guidance sets it up on a day, with the dose of a fraction on its anatomy."""
        asked, found, notes = self.asked, list[OnScan](), list[str]()
        options = asked.options
        if asked.new_table is not None:
            options = replace(options, density_table=asked.new_table)
        for plan in plans:
            moved, turn_deg = set_up(plan, at, scan.case.ct.patient_position)
            with self.clock.stage(f"dose on {scan.label}, {plan.label}") as tell:
                one, said = dose_on(
                    scan.case, scan.case.ct, structures, moved, asked.machine, options, spacing_mm, tell
                )  # fmt: skip
            found.append(OnScan(moved, one))
            notes += said
            if turn_deg > TOLD_TURN_DEG:
                notes.append(
                    f"on {scan.label} the patient lies turned by {turn_deg:.1f} degrees against the plan; the couch "
                    "shifts him and turns nothing"
                )
        return tuple(found), tuple(f"{scan.label}: {note}" for note in notes)


def _a_fraction(dose: Dose, plan: Plan) -> Dose:
    """Dose of one fraction of a plan whose dose is that of all of them."""
    return replace(dose, image=dose.image.with_values(dose.image.values / np.float32(plan.fractions)), per="fraction")
