"""What has changed since the planning CT, as facts that the triggers of adaptation ask about."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tailort.errors import InputError
from tailort.evaluation import DVH, Scorecard
from tailort.geometry import Image, volume_cm3
from tailort.patient import Fact, Prescription, StructureSet
from tailort.protocols import Protocol
from tailort.protocols.course_dates import fraction_of_course
from tailort.protocols.proposals import Individual
from tailort.registration import Registration
from tailort.workflow.propagating import body_in

COVERAGE = "D95%[Gy]"
WEIGHT = "weight_kg"
# Actions that ask for another plan.
ACTS = frozenset({"re-plan", "adjust-target", "revise-dose", "revise-fractionation"})
# Beyond the targets the contour is compared over so much of the body's length, mm.
AROUND_TARGETS_MM = 20.0
# Facts are told to so many decimals: less is the noise of grids and contours.
DECIMALS = 2


@dataclass(frozen=True)
class Measured:
    """A fact that was computed, or why it is not known.

    Parameters
    ----------
    name : str
        As the triggers ask for it.
    value : float, bool or None
        In the unit of the fact; None is unknown.
    source : str
        Of what it was computed, or what is missing.
    """

    name: str
    value: float | bool | None
    source: str

    def as_dict(self) -> dict[str, object]:
        """JSON-ready form."""
        return {"name": self.name, "value": self.value, "source": self.source}


@dataclass(frozen=True)
class PlannedImage:
    """An image that the protocol plans during the course.

    Parameters
    ----------
    image, target, strength, then : str
        As the protocol tells.
    at_gy : float
        Dose of the target with which it is due, Gy.
    fraction : int
        Fraction with which that is reached.
    due : bool
        Whether so many fractions were given.
    rules : tuple of str
        That ask for it.
    """

    image: str
    target: str
    at_gy: float
    strength: str
    then: str
    fraction: int
    due: bool
    rules: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """JSON-ready form."""
        return {**vars(self), "rules": list(self.rules)}


def planned_images(protocol: Protocol, delivered: int) -> tuple[PlannedImage, ...]:
    """Images that a protocol, as it is for the patient, plans during the course, and whether they are due."""
    found = []
    for entry in protocol.file.adaptations:
        fraction = fraction_of_course(protocol.file.prescriptions, entry.target, entry.at_gy)
        if fraction is not None:
            found.append(
                PlannedImage(
                    entry.image, entry.target, entry.at_gy, entry.strength, entry.then, fraction,
                    delivered >= fraction, entry.rules,
                )
            )  # fmt: skip
    return tuple(found)


def delivered_gy(phases: Sequence[tuple[Sequence[Prescription], int]]) -> Measured:
    """Dose that was prescribed in the fractions given, of the target with most in each phase, Gy.

    Parameters
    ----------
    phases : sequence of (sequence of Prescription, int)
        What is prescribed in each phase, and how many of its fractions were given.
    """
    name = "target_dose_delivered_gy"
    if any(given and not prescriptions for prescriptions, given in phases) or not any(own for own, _ in phases):
        return Measured(name, None, "the plan tells no prescription")
    leads = [(max(own, key=lambda p: p.dose_gy), given) for own, given in phases if own and (given or len(phases) == 1)]
    return Measured(
        name,
        round(sum(lead.dose_per_fraction_gy * given for lead, given in leads), DECIMALS),
        ", ".join(
            f"{given} fractions of {lead.dose_per_fraction_gy:g} Gy prescribed to {lead.target}"
            for lead, given in leads
        ) or "no fraction was given",
    )  # fmt: skip


def coverage_falls(
    structures: StructureSet,
    prescriptions: Sequence[Prescription],
    planned: Mapping[str, DVH],
    today: Mapping[str, DVH],
) -> tuple[Measured, Measured]:
    """Fall of D95 % of CTVs and of prescribed PTVs, % of the prescription, the worst of each.

    Parameters
    ----------
    structures : StructureSet
        Of today.
    prescriptions : sequence of Prescription
        What each target gets in the whole course.
    planned, today : mapping of DVH
        By structure, of the whole course: the plan on the planning CT, and all its fractions on today's CT.

    Notes
    -----
    A CTV has no prescription of its own: its fall is in percent of the highest one that its planned D95 % reaches, else
    of the lowest one.
    """
    own = {p.target.lower(): p.dose_gy for p in prescriptions}
    found = []
    for name, roles in (("ctv_d95_fall_percent", ("CTV", "ITV")), ("ptv_d95_fall_percent", ("PTV",))):
        falls = []
        for structure in structures:
            asked_gy = own.get(structure.name.lower())
            before, now = (_value(curves, structure.name) for curves in (planned, today))
            if structure.role not in roles or before is None or now is None or not own:
                continue
            if asked_gy is None and structure.role == "PTV":
                continue
            if asked_gy is None:
                asked_gy = max((gy for gy in own.values() if gy <= before), default=min(own.values()))
            falls.append((100.0 * (before - now) / asked_gy, structure.name, before, now, asked_gy))
        if not falls:
            found.append(Measured(name, None, "no such target is drawn on both CTs with a known dose and prescription"))
            continue
        fall, which, before, now, asked_gy = max(falls)
        source = (
            f"D95% of {which}: {before:.2f} Gy planned, {now:.2f} Gy by all fractions on today's CT, of {asked_gy:g} Gy"
        )
        found.append(Measured(name, round(fall, DECIMALS), source))
    return found[0], found[1]


def _value(curves: Mapping[str, DVH], name: str) -> float | None:
    curve = next((c for key, c in curves.items() if key.lower() == name.lower()), None)
    if curve is None or curve.volume_cm3 <= 0:
        return None
    low, high = curve.bounds(COVERAGE)
    return low if low == high else None


def hard_limit_exceeded(card: Scorecard | None) -> Measured:
    """Whether a hard limit is exceeded on what was given and what would follow; unknown where one is not judged."""
    name = "hard_limit_exceeded_projected"
    if card is None:
        return Measured(name, None, "no protocol tells limits; name one with --protocol")
    if card.hard_failures:
        told = ", ".join(f"{row.structure} {row.metric} {row.value}" for row in card.hard_failures)
        return Measured(name, True, f"projected to the whole course: {told}")
    if card.hard_unknowns:
        told = ", ".join(f"{row.structure} {row.metric}" for row in card.hard_unknowns)
        return Measured(name, None, f"not judged: {told}")
    if not any(row.priority == "hard" for row in card.rows):
        return Measured(name, None, "the protocol has no hard limit")
    return Measured(name, False, "every hard limit holds, projected to the whole course")


def weight_loss(planned_kg: float | None, today_kg: float | None) -> Measured:
    """Loss of weight since planning, %; negative for a gain."""
    name = "weight_loss_in_course_percent"
    for value in (planned_kg, today_kg):
        if value is not None and not 15.0 <= value <= 350.0:
            raise InputError(f"a weight of {value:g} kg cannot be; expected 15 to 350 kg")
    if planned_kg is None or today_kg is None:
        which = "at planning" if planned_kg is None else "today"
        return Measured(name, None, f"the weight {which} is not known; write {WEIGHT} into record.yaml, or --weight-kg")
    loss = 100.0 * (planned_kg - today_kg) / planned_kg
    return Measured(name, round(loss, DECIMALS), f"{planned_kg:g} kg at planning, {today_kg:g} kg today")


def contour_change(planned: Image, today: Image, found: Registration, structures: StructureSet) -> Measured:
    """Largest distance between the body's contours then and today along the targets, cm, in transverse planes.

    Parameters
    ----------
    planned, today : Image
        CTs.
    found : Registration
        Of which the turn and shift is used: what is bent is what has changed.
    structures : StructureSet
        Of today; targets tell which part of the body is compared.
    """
    name = "contour_change_cm"
    bounds = [s.bounds_mm() for s in structures if s.role in ("GTV", "CTV", "PTV") and not s.is_empty]
    if not bounds:
        return Measured(name, None, "no target tells which part of the body is to be compared")
    low = min(float(b[0][2]) for b in bounds) - AROUND_TARGETS_MM
    high = max(float(b[1][2]) for b in bounds) + AROUND_TARGETS_MM
    z = today.grid.axes_mm()[0]
    here = np.flatnonzero((z >= low) & (z <= high))
    part = today.grid.crop((here[0], 0, 0), (here[-1] + 1, *today.grid.shape[1:]))
    try:
        before = Image(planned.grid, body_in(planned, "the planning CT").astype(np.float32), "1")
        whole = body_in(today, "today's CT")
    except InputError as error:
        return Measured(name, None, str(error))
    mapped = Registration(found.rigid).map_image(before, part, np.nan).values
    known, then = np.isfinite(mapped), np.nan_to_num(mapped) >= 0.5
    now = whole[here[0] : here[-1] + 1]
    step = today.grid.spacing_mm[1:]
    largest = 0.0
    for seen, old, new in zip(known, then, now, strict=True):
        for more, less in ((new & ~old, old), (old & ~new, new)):
            if (more & seen).any() and less.any():
                apart = ndimage.distance_transform_edt(~less, sampling=step)
                largest = max(largest, float(apart[more & seen].max()))
    return Measured(
        name, round(largest / 10.0, DECIMALS),
        f"largest distance of the outlines that both CTs show, z {low:.0f} to {high:.0f} mm, to a voxel of "
        f"{max(step):.1f} mm",
    )  # fmt: skip


def tumour_change(
    planned: StructureSet, today: StructureSet, slice_mm: tuple[float, float], *, same_ct: bool = False
) -> Measured:
    """Change of the volume of all GTVs that both scans have, %; unknown where nobody has drawn one of them today.

    Parameters
    ----------
    planned, today : StructureSet
        On the planning CT and on today's.
    slice_mm : (2,) float
        Slice distances of both.
    same_ct : bool
        Whether today's CT is the planning CT, on which the contours are those that were drawn.

    Notes
    -----
    A carried GTV tells how far the registration has found the tumour to shrink, which is less than it has: soft tissue
    of one density moves into its place. So its volume is told, and no fact.
    """
    name = "tumour_volume_change_percent"
    pairs = [
        (s, other)
        for s in planned
        if s.role == "GTV" and not s.is_empty and (other := today.find(s.name)) is not None and not other.is_empty
    ]
    if not pairs:
        return Measured(name, None, "no GTV is drawn on both CTs")
    then, now = (
        sum(volume_cm3(pair[n].contours, single_slice_thickness_mm=slice_mm[n]) for pair in pairs) for n in (0, 1)
    )
    change = round(float(100.0 * (now - then) / then), DECIMALS)
    told = f"{', '.join(s.name for s, _ in pairs)}: {then:.1f} cm3 then, {now:.1f} cm3 today"
    if not same_ct and any(other.made_by for _, other in pairs):
        return Measured(
            name,
            None,
            f"{told} as carried by the registration ({change:g} %), which sees less of a change than there is: draw "
            "the GTV on today's CT",
        )
    return Measured(name, change, told)


def with_measured(facts: Mapping[str, Fact], measured: Sequence[Measured], today: dt.date | None) -> dict[str, Fact]:
    """Clinical facts with those that were computed; what a person recorded of an unknown one stays."""
    made = dict(facts)
    for one in measured:
        if one.value is not None:
            made[one.name] = Fact(one.name, one.value, one.source, today)
    return made


def asks_for_a_plan(trigger: Individual) -> bool:
    """Whether a trigger has fired and one of its actions needs another plan."""
    actions = getattr(trigger.entry, "actions", ())
    return trigger.answer == "yes" and any(entry.action in ACTS for entry in actions)
