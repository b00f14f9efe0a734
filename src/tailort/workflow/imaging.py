"""Do the images of a case keep what a protocol asks of them: read off the DICOM itself, with the rule named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.patient import Case, Scan, Structure
from tailort.protocols.condition import Answer, Condition, Finding, all_of, in_words
from tailort.protocols.imaging import (
    Border,
    ContourEntry,
    ExtentEntry,
    FactRequirement,
    ImagingSection,
    MotionEntry,
    Otherwise,
    PatientPositionEntry,
    SeriesEntry,
    SliceEntry,
    ViewsEntry,
)

Verdict = Literal["pass", "note", "fail", "unknown"]
Float = NDArray[np.float64]

# Positions are rounded when they are stored.
ROUNDED_MM = 0.01
# A convention: a normal this near to the patient's long axis still is that of a transverse series.
OBLIQUE_DEG = 5.0


@dataclass(frozen=True)
class ImagingRow:
    """One requirement and what came of it.

    Parameters
    ----------
    rules : tuple of str
        Ids of the rules it rests on.
    requirement, found : str
        What is asked, and what the case has.
    verdict : {"pass", "note", "fail", "unknown"}
        "note" is allowed or recommended otherwise, and told; "unknown" could not be seen.
    missing : tuple of str
        Facts, structures or landmarks without which it cannot be told.
    """

    rules: tuple[str, ...]
    requirement: str
    found: str
    verdict: Verdict
    missing: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the row ready for JSON."""
        return {
            "rules": list(self.rules),
            "requirement": self.requirement,
            "found": self.found,
            "verdict": self.verdict,
            "missing": list(self.missing),
        }


def check_imaging(
    case: Case,
    requirements: ImagingSection,
    *,
    values: Mapping[str, Any],
    landmarks_mm: Mapping[str, float] | None = None,
    views_drawn: bool | None = None,
) -> tuple[ImagingRow, ...]:
    """Compare the images of a case with what a protocol asks of them.

    Parameters
    ----------
    case : Case
        With its planning CT, further series and structures.
    requirements : ImagingSection
        Of the protocol.
    values : dict
        What conditions are evaluated on, as `tailort.protocols.known.seen` gives it: facts of the record in the
        protocol's types; a missing or None value is unknown.
    landmarks_mm : dict of float or None
        z of landmarks that are told as points, LPS mm.
    views_drawn : bool or None
        Whether the report draws the views that `views` asks for; None is not known.

    Returns
    -------
    tuple of ImagingRow
        In the order of the section. A requirement whose `when` does not hold has no row; one whose `when` is unknown is
        unknown, unless it is kept anyway.

    Notes
    -----
    Motion management has no verdict but pass and note.
    """
    landmarks = landmarks_mm or {}
    rows: list[tuple[Condition | None, ImagingRow]] = []
    for slices in requirements.slices:
        rows.append((slices.when, _slices(case, slices)))
    for extent in requirements.extent:
        rows.append((extent.when, _extent(case, extent, landmarks)))
    for lying in requirements.positions:
        rows.append((lying.when, _position(case, lying)))
    for contour in requirements.contours:
        rows.append((contour.when, _contour(case, contour)))
    for series in requirements.series:
        rows.append((series.when, _series(case, series)))
    for asked in requirements.facts:
        rows.append((asked.when, _fact(asked, values)))
    for motion in requirements.motion:
        rows.append((motion.when, _motion(motion, values)))
    for views in requirements.views:
        rows.append((views.when, _views(views, views_drawn)))
    return tuple(_where_it_holds(rows, values))


def slice_distances_mm(positions_mm: ArrayLike, spans_mm: Sequence[tuple[float, float]], inside: bool = True) -> Float:
    """Distances of neighbouring slices that lie in a region, or of the others.

    Parameters
    ----------
    positions_mm : (n,) float
        z of the slices in any order, LPS mm; the distances need not be equal.
    spans_mm : sequence of (low, high)
        z ranges that make the region, LPS mm; a range between two slices has their distance, one without height that of
        the slices on both sides.
    inside : bool
        Whether those in the region are asked for.

    Returns
    -------
    (m,) float
        From the feet to the head, mm.

    Examples
    --------
    >>> slice_distances_mm([0, 8, 11, 14, 24], [(9, 12)]).tolist()
    [3.0, 3.0]
    """
    z = np.sort(np.asarray(positions_mm, dtype=np.float64))
    low, high = z[:-1], z[1:]
    within = np.zeros(len(low), dtype=bool)
    for bottom, top in spans_mm:
        flat = top - bottom < ROUNDED_MM
        slack = ROUNDED_MM if flat else -ROUNDED_MM
        within |= (low < top + slack) & (high > bottom - slack)
    distances: Float = (high - low)[within if inside else ~within]
    return distances


def _where_it_holds(
    rows: Sequence[tuple[Condition | None, ImagingRow]], values: Mapping[str, Any]
) -> Iterator[ImagingRow]:
    for when, row in rows:
        found = None if when is None else when.evaluate(values)
        if found is None or found.answer == "yes":
            yield row
        elif found.answer == "unknown":
            yield (
                row
                if row.verdict == "pass"
                else replace(
                    row,
                    verdict="note" if row.verdict == "note" else "unknown",
                    found=f"{row.found}; asked only where {found.text}, which is not known",
                    missing=(*row.missing, *found.open_facts()),
                )
            )


def _verdict(answer: Answer, otherwise: Otherwise) -> Verdict:
    if answer == "no":
        return otherwise
    return "pass" if answer == "yes" else "unknown"


def _drawn(case: Case, names: Sequence[str]) -> tuple[tuple[Structure, ...], tuple[str, ...]]:
    """Structures that have contours, and the names of those that have none."""
    found = {name: case.structures.find(name) for name in names}
    there = {name: s for name, s in found.items() if s is not None and not s.is_empty}
    return tuple(there.values()), tuple(name for name in names if name not in there)


def _span_mm(structure: Structure) -> tuple[float, float]:
    low, high = structure.bounds_mm()
    return float(low[2]), float(high[2])


def _slices(case: Case, entry: SliceEntry) -> ImagingRow:
    scan = case.ct
    z, _, _ = scan.image.grid.axes_mm()
    region, missing = _drawn(case, entry.of)
    region += _drawn(case, entry.if_drawn)[0]
    everywhere = slice_distances_mm(z, [(-np.inf, np.inf)])
    if not entry.of:
        asked = everywhere
    elif not missing:
        asked = slice_distances_mm(z, [_span_mm(s) for s in region], inside=not entry.elsewhere)
    else:
        # Where the region is, is not known: only what is so in the whole CT, or nowhere, is an answer.
        asked = everywhere
    too_far = asked > entry.at_most_mm + ROUNDED_MM
    near: Answer = "yes" if not too_far.any() else "unknown" if missing and not too_far.all() else "no"
    answers = [near]
    thickness = scan.slice_thickness_mm
    if thickness is not None and len(asked):
        answers.append("no" if thickness > entry.at_most_mm + ROUNDED_MM else "yes")
    if entry.contiguous and len(asked):
        answers.append("unknown" if thickness is None else "no" if thickness < asked.max() - ROUNDED_MM else "yes")
    answer = all_of(answers)
    verdict = _verdict(answer, entry.otherwise)
    fine = entry.note_below_mm is not None and bool((asked < entry.note_below_mm - ROUNDED_MM).any())
    if answer == "yes" and fine:
        verdict = "note"
    found = f"slices {_range_text(asked)} apart" if len(asked) else "the CT has no slice there"
    found += f", Slice Thickness {thickness:g} mm" if thickness is not None else ", Slice Thickness not told"
    if missing:
        found += f" in the whole CT; {_listed(missing)} not drawn"
    if answer == "yes" and fine:
        found += f" (finer than {entry.note_below_mm:g} mm)"
    names = [*entry.of, *(s.name for s in region if s.name not in entry.of)]
    where = f" outside {_listed(names)}" if entry.elsewhere else f" through {_listed(names)}" if names else ""
    told = f"CT slices{' contiguous and' * entry.contiguous} at most {entry.at_most_mm:g} mm{where}"
    return ImagingRow(entry.rules, told, found, verdict, missing if verdict == "unknown" else ())


def _range_text(distances_mm: Float) -> str:
    low, high = round(float(distances_mm.min()), 2), round(float(distances_mm.max()), 2)
    return f"{low:g} mm" if low == high else f"{low:g} to {high:g} mm"


def _extent(case: Case, entry: ExtentEntry, landmarks_mm: Mapping[str, float]) -> ImagingRow:
    z, _, _ = case.ct.image.grid.axes_mm()
    spacing = case.ct.image.grid.spacing_mm[0]
    ends = (_reached(case, entry.top, landmarks_mm, float(z.max()), spacing, 1.0),
            _reached(case, entry.bottom, landmarks_mm, float(z.min()), spacing, -1.0))  # fmt: skip
    return ImagingRow(
        entry.rules,
        f"CT from {entry.top.text} to {entry.bottom.text}",
        f"the CT runs from z = {z.max():g} to {z.min():g} mm; " + "; ".join(end[1] for end in ends),
        _verdict(all_of(end[0] for end in ends), entry.otherwise),
        tuple(name for end in ends for name in end[2]),
    )


def _reached(
    case: Case, border: Border, landmarks_mm: Mapping[str, float], end_mm: float, spacing_mm: float, up: float
) -> tuple[Answer, str, tuple[str, ...]]:
    """Whether the scan reaches a border, upwards (1) or downwards (-1), in words, and what is missing."""
    if border.landmark in landmarks_mm:
        at = landmarks_mm[str(border.landmark)]
        reached = (end_mm - at) * up >= -spacing_mm / 2 - ROUNDED_MM
        return ("yes" if reached else "no"), f"{border.landmark} is at z = {at:g} mm", ()
    structure = None if border.structure is None else case.structures.find(border.structure)
    if structure is None or structure.is_empty:
        name = border.structure or str(border.landmark)
        return "unknown", f"{name} is not drawn, so whether the CT reaches it cannot be seen", (name,)
    low, high = _span_mm(structure)
    at = high if border.edge == "superior" else low
    if (end_mm - at) * up > ROUNDED_MM:
        return "yes", f"{border.text} is at z = {at:g} mm", ()
    return (
        "unknown",
        f"{structure.name} is drawn up to the last slice (z = {at:g} mm), so whether it goes on beyond the CT cannot "
        "be seen",
        (),
    )


def _position(case: Case, entry: PatientPositionEntry) -> ImagingRow:
    position = case.ct.patient_position
    lies = "prone" if position.endswith("P") else "supine"
    verdict = _verdict("yes" if lies == entry.patient else "no", entry.otherwise)
    return ImagingRow(entry.rules, f"patient {entry.patient} on the planning CT", f"{lies} ({position})", verdict)


def _contour(case: Case, entry: ContourEntry) -> ImagingRow:
    ways = [_drawn(case, way) for way in entry.one_of]
    whole = next((found for found, missing in ways if not missing), None)
    told = " or ".join(" with ".join(way) for way in entry.one_of)
    found = (
        f"{', '.join(s.name for s in whole)} drawn"
        if whole is not None
        else f"{_listed(min((missing for _, missing in ways), key=len))} not drawn"
    )
    verdict = _verdict("yes" if whole is not None else "no", entry.otherwise)
    return ImagingRow(entry.rules, f"{entry.organ} contoured ({told})", found, verdict)


def _series(case: Case, entry: SeriesEntry) -> ImagingRow:
    ct = case.ct
    scans = [scan for scan in case.scans if scan.modality == entry.modality and scan is not ct]
    judged = [_suits(scan, ct, entry) for scan in scans]
    sure = sum(answer == "yes" for answer, _ in judged)
    perhaps = sum(answer == "unknown" for answer, _ in judged)
    answer: Answer = "yes" if sure >= entry.at_least else "unknown" if sure + perhaps >= entry.at_least else "no"
    asked = [f"at least {entry.at_least} further {entry.modality} series"]
    asked += [f"slices at most {entry.at_most_mm:g} mm"] if entry.at_most_mm is not None else []
    asked += ["transverse"] if entry.transverse else []
    asked += ["in the frame of reference of the CT"] if entry.same_frame else []
    asked += ["patient in the same position"] if entry.same_position else []
    found = "; ".join(text for _, text in judged) or f"no further {entry.modality} series in the case"
    return ImagingRow(entry.rules, ", ".join(asked), found, _verdict(answer, entry.otherwise))


def _suits(scan: Scan, ct: Scan, entry: SeriesEntry) -> tuple[Answer, str]:
    """Whether a further series is what is asked for, and what it is."""
    grid, frame = scan.image.grid, ct.image.grid.frame_of_reference
    apart = max(grid.spacing_mm[0], scan.slice_thickness_mm or 0.0)
    normal = grid.affine[:3, 0] / grid.spacing_mm[0]
    answers: list[Answer] = ["yes"]
    told = [f"{scan.modality} '{scan.description}'" if scan.description else scan.modality, f"slices {apart:g} mm"]
    if entry.at_most_mm is not None and apart > entry.at_most_mm + ROUNDED_MM:
        answers.append("no")
    if entry.transverse and abs(normal[2]) < np.cos(np.radians(OBLIQUE_DEG)):
        answers.append("no")
        told.append("not transverse")
    if entry.same_position and scan.patient_position != ct.patient_position:
        answers.append("no")
        told.append(f"{scan.patient_position} where the CT is {ct.patient_position}")
    if entry.same_frame and grid.frame_of_reference != frame:
        answers.append("unknown")
        told.append("in another frame of reference than the CT: whether it was registered cannot be seen")
    return all_of(answers), ", ".join(told)


def _fact(entry: FactRequirement, values: Mapping[str, Any]) -> ImagingRow:
    found = entry.holds.evaluate(values)
    return ImagingRow(
        entry.rules, entry.text, _seen(found), _verdict(found.answer, entry.otherwise), found.open_facts()
    )


def _motion(entry: MotionEntry, values: Mapping[str, Any]) -> ImagingRow:
    found = entry.holds.evaluate(values)
    verdict: Verdict = "pass" if found.answer == "yes" else "note"
    return ImagingRow(entry.rules, entry.text, _seen(found), verdict, found.open_facts())


def _views(entry: ViewsEntry, drawn: bool | None) -> ImagingRow:
    answer: Answer = "unknown" if drawn is None else "yes" if drawn else "no"
    found = {"yes": "the report draws them", "no": "the report does not draw them", "unknown": "no report yet"}[answer]
    return ImagingRow(entry.rules, entry.text, found, _verdict(answer, entry.otherwise))


def _seen(finding: Finding) -> str:
    return ", ".join(
        f"{name} {'not known' if value is None else in_words(value)}" for name, value in finding.facts.items()
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
