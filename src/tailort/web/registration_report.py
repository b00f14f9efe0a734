"""The report of a registration with another scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tailort.web import figures
from tailort.web.page import NOT_IN_DVH, leaves, plain_provenance, render, structures_drawn, structures_shown
from tailort.web.registration_figures import registration_pictures
from tailort.web.registration_tables import measured_rows
from tailort.workflow.aligning import Alignment, MappedDose
from tailort.workflow.clock import Stage

_SHOWN = ("Volume[cc]", "Mean[Gy]", "D0.035cc[Gy]", "D1cc[Gy]", "D2%[Gy]", "D50%[Gy]", "D95%[Gy]")
_VERDICTS = {"pass": ("passes", "good"), "fail": ("fails", "bad"), "report": ("nothing was compared", "")}


def registration_report(result: Alignment, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of a registration as HTML; see `planning_report`."""
    case = result.case
    palette = figures.colours(case.structures, ())
    shown = structures_shown(case.structures, [], ())
    centre = None
    pictured: dict[str, Any] = {"planes": [], "dvh": None}
    doses = [dose for dose in result.doses if dose.whole is not None]
    if doses and doses[0].whole is not None:
        first = doses[0].whole
        values = first.image.values
        highest_gy = round(float(values.max()), 2)
        hottest = np.unravel_index(int(np.argmax(values)), values.shape)
        centre = first.image.grid.to_world(np.array(hottest, dtype=float))
        drawn = structures_drawn(shown)
        title = f"The {doses[0].label} as it lies today, physical Gy per course: the plane of its hottest voxel"
        pictured = {
            "planes": [
                figures.planes(case.ct, case.structures, first, palette, drawn, centre, highest_gy, title)
            ],
            **leaves(case, case.structures, first, palette, drawn, highest_gy),
            "dvh": _histograms(doses[0], palette, shown),
        }  # fmt: skip
    kind, other = ("deformable", "rigid")[result.registration.is_rigid], result.scan
    method = result.registration.method
    contents = {
        "title": f"Registration with '{result.label}'",
        "subtitle": f"Patient {case.pseudonym}; {other.modality} '{other.description}'; TailoRT {described['tailort']}",
        "warnings": _warnings(result),
        "cards": _cards(result, kind),
        "summary": [
            f"{method[:1].upper()}{method[1:]}. A registration whose check fails is no ground for a sum of doses; one "
            "that passes can still be off where neither scan shows anything."
        ],
        "decision": None,
        **pictured,
        "tables": [_measures(result), *(_metrics(dose) for dose in result.doses if dose.metrics)],
        "scorecards": [],
        "comparison": None,
        "registered": [
            {
                "title": f"today's CT with {result.label}",
                "note": "A picture that looks right is no proof that a dose is: look where the doses are high.",
                "pictures": registration_pictures(
                    case.ct.image, other.image, result.registration, centre, label=f"'{result.label}'"
                ),
            }
        ],
        "bevs": [],
        "made": [],
        "rules": [],
        "provenance": plain_provenance(described),
        "notes": result.notes,
        "stages": stages,
    }
    return render(contents)


def _warnings(result: Alignment) -> list[str]:
    if not result.failed:
        return []
    used = "; its dose was mapped because a person insisted" if result.doses else ""
    return [f"the registration with {result.label} fails its own check ({'; '.join(result.failed)}){used}"]


def _cards(result: Alignment, kind: str) -> list[dict[str, str]]:
    quality = result.registration.quality
    assert quality is not None
    judged = sum(m.limit is not None for m in quality.measures)
    word, colour = _VERDICTS[quality.verdict]
    known = result.uncertainty_mm
    return [
        {"label": "own check", "value": word, "note": f"{judged} measures have a limit", "kind": colour},
        {"label": "method", "value": kind, "note": f"{result.scan.modality} with CT", "kind": ""},
        {
            "label": "uncertainty, 1 standard deviation",
            "value": f"{known[50]:.1f} mm" if known else "unknown",
            "note": f"median of the body; 5 to 95 %: {known[5]:.1f} to {known[95]:.1f} mm"
            if known
            else "not found out",
            "kind": "",
        },
    ]


def _measures(result: Alignment) -> dict[str, Any]:
    quality = result.registration.quality
    assert quality is not None
    return {
        "title": "What was measured of the registration",
        "note": "By AAPM TG-132. Structures of 10 cm3 and more that are drawn on both scans.",
        "header": ["measure", "value", "limit", "verdict", "source of the limit"],
        "rows": measured_rows(quality),
    }


def _metrics(mapped: MappedDose) -> dict[str, Any]:
    names = dict.fromkeys(m.structure for m in mapped.metrics)
    told = {(m.structure, m.metric): _told(m.low, m.high) for m in mapped.metrics}
    return {
        "title": f"The {mapped.label}, as it lies in today's structures",
        "note": "Physical, Gy of that course, not converted. A range: part of the structure lies where the dose is not "
        "known. registration.json has more metrics.",
        "header": ["structure", *_SHOWN],
        "rows": [[name, *(told.get((name, metric), "") for metric in _SHOWN)] for name in names],
    }


def _told(low: float, high: float) -> str:
    if low == high:
        return f"{low:.2f}"
    return f"{low:.2f} to {high:.2f}" if np.isfinite(high) else f"at least {low:.2f}"


def _histograms(mapped: MappedDose, palette: dict[str, str], shown: Sequence[str]) -> figures.Picture | None:
    names = [name for name in palette if name not in NOT_IN_DVH and name in shown]
    held = [curve for curve in mapped.dvhs if curve.structure in names and curve.known_cm3 > 0]
    return figures.dvh_plot(held, (), palette, names, ("", "")) if held else None
