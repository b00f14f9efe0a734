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
    brought_here,
    dose_on,
    set_up,
    times_fractions,
)
from tailort.workflow.evaluating import for_this_patient
from tailort.workflow.propagating import outline_seen, structures_of_today
from tailort.workflow.recalculating import dose_of_plan, only_plan
from tailort.workflow.registering import failures, judged_given, register_courses, registration_of


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
        new: Sequence[NewScan],
        days: Sequence[Day],
        registrations: Mapping[str, Registration],
        planned_structures: StructureSet,
        structures: StructureSet,
    ) -> tuple[Dose, tuple[Dose, ...], Dose, tuple[str, ...]]:
        """Planned dose of the course, what was given on today's anatomy, a fraction on it, and what must be known."""
        asked, notes = self.asked, list[str]()
        plan, spacing_mm, today = only_plan(asked.planned), spacing_of(asked), new[-1]
        planned, told = self._planned(plan, planned_structures, spacing_mm)
        notes += told
        here, said = self._on_a_day(today, plan, registrations[PLANNED], structures, spacing_mm)
        notes += said
        parts = []
        for day, scan in zip(days, (None, *new), strict=True):
            if day.fractions == 0:
                continue
            if scan is today:
                parts.append(times_fractions(here, day.fractions))
                continue
            if scan is None:
                one = replace(
                    planned, image=planned.image.with_values(planned.image.values / np.float32(plan.fractions)),
                    per="fraction",
                )  # fmt: skip
            else:
                with self.clock.stage(f"set up on {scan.label}"):
                    at = self._turned(scan)
                drawn = scan.case.structures
                if not any(s.role == "EXTERNAL" for s in drawn):
                    drawn = drawn.with_structures(outline_seen(scan.case.ct.image, scan.label))
                one, said = self._on_a_day(scan, plan, at, drawn, spacing_mm)
                notes += said
            with self.clock.stage(f"carry the dose of {day.label}"):
                mapped, beyond_cm3 = brought_here(one, registrations[day.label], here)
            if beyond_cm3 > 0:
                notes.append(
                    f"{beyond_cm3:.0f} cm3 of today's body lie beyond the dose of {day.label}; there its fractions "
                    "are counted as on today's CT"
                )
            parts.append(times_fractions(mapped, day.fractions))
        return planned, tuple(parts), here, tuple(notes)

    def _planned(self, plan: Plan, structures: StructureSet, spacing_mm: float) -> tuple[Dose, tuple[str, ...]]:
        """Dose of the plan on the planning CT by the engine of the others, Gy of the course."""
        asked = self.asked
        given = dose_of_plan(asked.planned, plan)
        if given is not None and given.engine == asked.options.engine:
            return given, ()
        with self.clock.stage("dose on the planning CT") as tell:
            one, notes = dose_on(
                asked.planned, asked.planned.ct, structures, plan, asked.machine, asked.options, spacing_mm, tell
            )
        whole = times_fractions(one, plan.fractions)
        if given is None:
            return whole, notes
        differs = (
            f"the dose that came with the plan is by engine '{given.engine}'; all doses here are computed by "
            f"'{asked.options.engine}', the planned one too: highest {float(given.image.values.max()):.2f} Gy then, "
            f"{float(whole.image.values.max()):.2f} Gy here"
        )
        return whole, (*notes, differs)

    def _turned(self, scan: NewScan) -> Registration:
        """How the patient lies on the scan of a day, as image guidance sees it."""
        one, other = scan.case.ct.image, self.asked.planned.ct.image
        if one.grid.same_as(other.grid) and np.array_equal(one.values, other.values):
            return Registration.identity(one.grid.frame_of_reference)
        return rigid(one, other, metric="correlation", stop=self.stop)

    def _on_a_day(
        self, scan: NewScan, plan: Plan, at: Registration, structures: StructureSet, spacing_mm: float
    ) -> tuple[Dose, tuple[str, ...]]:
        """Dose of a fraction on the anatomy of a day."""
        asked = self.asked
        moved, turn_deg = set_up(plan, at, scan.case.ct.patient_position)
        options = asked.options
        if asked.new_table is not None:
            options = replace(options, density_table=asked.new_table)
        with self.clock.stage(f"dose on {scan.label}") as tell:
            one, notes = dose_on(scan.case, scan.case.ct, structures, moved, asked.machine, options, spacing_mm, tell)
        if turn_deg > TOLD_TURN_DEG:
            turned = (
                f"on {scan.label} the patient lies turned by {turn_deg:.1f} degrees against the plan; the couch "
                "shifts him and turns nothing"
            )
            notes = (*notes, turned)
        return one, tuple(f"{scan.label}: {note}" for note in notes)
