"""Courses of several phases: what a target gets in all of them, and fractions that move from one to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tailort.errors import InputError
from tailort.patient import Prescription
from tailort.protocols.schema import HandOver, PrescriptionEntry, Technique


def course_gy(prescriptions: Sequence[PrescriptionEntry], target: str) -> float:
    """Physical dose that is prescribed to a target in all phases, Gy, with that of the target it boosts.

    Examples
    --------
    >>> wide = PrescriptionEntry(target="PTV_5040", dose_gy=50.4, fractions=28)
    >>> cone_down = PrescriptionEntry(target="PTV_6480", dose_gy=14.4, fractions=8, phase=2, boosts="PTV_5040")
    >>> course_gy([wide, cone_down], "PTV_6480")
    64.8
    """
    own = [entry for entry in prescriptions if entry.target.lower() == target.lower()]
    if not own:
        known = ", ".join(dict.fromkeys(entry.target for entry in prescriptions))
        raise InputError(f"'{target}' is not prescribed; prescribed are: {known}")
    below = dict.fromkeys(entry.boosts for entry in own if entry.boosts is not None)
    total = sum(entry.dose_gy for entry in own) + sum(course_gy(prescriptions, name) for name in below)
    return round(total, 6)


def joined(prescriptions: Sequence[Prescription], technique: Technique) -> tuple[Prescription, ...]:
    """Prescriptions in which phases that follow each other and are planned alike are one.

    Alike are phases with the same technique, targets, normalisations and doses per fraction; what is joined keeps the
    number of the first, so numbers may have gaps.
    """
    made: list[Prescription] = []
    last: tuple[object, ...] = ()
    for phase in sorted({p.phase for p in prescriptions}):
        own = [p for p in prescriptions if p.phase == phase]
        beams = technique.of_phase(phase).model_copy(update={"rules": ()})
        told = {(p.target, p.normalisation, round(p.dose_per_fraction_gy, 9)) for p in own}
        if last != (beams, told):
            made += own
            last = (beams, told)
            continue
        more = {p.target: p for p in own}
        first = made[-len(own) :]
        made[-len(own) :] = [
            replace(
                p,
                dose_gy=round(p.dose_gy + more[p.target].dose_gy, 6),
                fractions=p.fractions + more[p.target].fractions,
            )
            for p in first
        ]
    return tuple(made)


def after_hand_over(prescriptions: Sequence[Prescription], hand_over: HandOver, moved: int) -> tuple[Prescription, ...]:
    """Prescriptions after some fractions have moved; a phase that has none left is left out.

    Parameters
    ----------
    prescriptions : sequence of Prescription
        Of the course.
    hand_over : HandOver
        Between which phases.
    moved : int
        Number of fractions, from 0 to all of the phase that they leave.

    Notes
    -----
    Doses per fraction, and so the dose of the course, stay.
    """
    change = {hand_over.from_phase: -moved, hand_over.to_phase: moved}
    first = [p.fractions for p in prescriptions if p.phase == hand_over.from_phase]
    if not first or not 0 <= moved <= min(first):
        have = f"it has {min(first)}" if first else "there is no such phase"
        raise InputError(f"{moved} fractions cannot move out of phase {hand_over.from_phase}: {have}")
    made = []
    for p in prescriptions:
        fractions = p.fractions + change.get(p.phase, 0)
        if fractions:
            made.append(replace(p, fractions=fractions, dose_gy=round(p.dose_gy / p.fractions * fractions, 6)))
    return tuple(made)


def fractions_to_move(hand_over: HandOver, at_most: int, metric_gy: Callable[[int], float]) -> int:
    """Fewest fractions that must move for the organ to stay below the dose.

    Parameters
    ----------
    hand_over : HandOver
        Which metric of which organ must stay below what.
    at_most : int
        Number of fractions of the phase that they leave.
    metric_gy : callable
        The metric, physical dose of the whole course, Gy, when so many fractions have moved.

    Returns
    -------
    int
        The fewest; where no number will do, the one with the lowest metric, for the limit itself to be judged.
    """
    found = []
    for moved in range(at_most + 1):
        found.append(metric_gy(moved))
        if found[-1] < hand_over.below_gy:
            return moved
    return min(range(at_most + 1), key=lambda moved: (found[moved], moved))
