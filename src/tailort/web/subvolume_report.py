"""The report of a biological sub-volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from tailort.geometry import Image
from tailort.web.figures import Picture, draw_structure
from tailort.web.page import plain_provenance, render
from tailort.web.plane_pictures import PLANES, Cut, background, cut_through, drawn_planes, read, window_of
from tailort.workflow.clock import Stage
from tailort.workflow.subdividing import Subdivision

_TARGET, _PART, _SPARED = "#58e0ff", "#ff2d95", "#ffe94a"
_ROOM_MM = 25.0
# Where the wash begins, as a part of its scale.
_FAINT = 0.15


def subvolume_report(result: Subdivision, described: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Return the report of a sub-volume as HTML; see `planning_report`."""
    found, image, quantity = result.found, result.image, result.image.quantity
    unit = "" if quantity.unit == "1" else f" {quantity.unit}"
    meaning = quantity.high if quantity.sought == "high" else quantity.low
    block = {
        "title": f"{found.structure.name}: {quantity.text}",
        "note": f"{found.chosen.method.text[:1].upper()}{found.chosen.method.text[1:]} ({found.source}, {found.mark}). "
        f"{quantity.text} stands for {quantity.shows}; {quantity.sought} values mean: {meaning} ({quantity.source}, "
        f"{quantity.mark}).",
        "header": ["moved", "smallest, cm3", "largest, cm3", "surface moves, mm (95 %)"],
        "rows": [
            [
                spread.moved, f"{spread.least_cm3:.2f}", f"{spread.most_cm3:.2f}",
                "nothing remains" if spread.surface_mm is None else f"{spread.surface_mm:.1f}",
            ]
            for spread in found.spreads
        ],
        "pictures": [_picture(result)],
        "facts": [*_figures(result, unit), *image.facts.items()],
        "notes": [],
    }  # fmt: skip
    contents = {
        "title": f"Sub-volume of '{found.target}'",
        "subtitle": f"Patient {result.case.pseudonym}; {image.source}; TailoRT {described['tailort']}",
        "warnings": list(result.warnings),
        "cards": _cards(result, unit),
        "summary": [
            "A sub-volume shows what the image shows: a threshold is a convention, and another image of the same "
            "tumour, or another method, gives another one. It proposes where dose may go, and orders nothing."
        ],
        "decision": None, "planes": [], "dvh": None, "tables": [], "scorecards": [], "comparison": None, "bevs": [],
        "made": [], "rules": [], "painted": [block], "provenance": plain_provenance(described), "notes": result.notes,
        "stages": stages,
    }  # fmt: skip
    return render(contents)


def _cards(result: Subdivision, unit: str) -> list[dict[str, str]]:
    found, image = result.found, result.image
    unsure = image.uncertainty_mm
    return [
        {
            "label": found.structure.name, "value": f"{found.volume_cm3:.1f} cm3",
            "note": f"{100 * found.volume_cm3 / found.target_cm3:.0f} % of {found.target}", "kind": "",
        },
        {"label": str(found.chosen), "value": f"{found.level:.4g}{unit}", "note": found.mark, "kind": ""},
        {
            "label": "where a place lies, 1 standard deviation",
            "value": "unknown" if unsure is None else f"{unsure:.1f} mm", "note": image.registered, "kind": "",
        },
    ]  # fmt: skip


def _figures(result: Subdivision, unit: str) -> list[tuple[str, str]]:
    """What was measured, by name."""
    found = result.found
    extreme = "highest" if found.quantity.sought == "high" else "lowest"
    told = [
        (f"{extreme} in {found.target}", f"{found.extreme:.4g}{unit}"),
        ("mean of the sub-volume", f"{found.mean:.4g}{unit}"),
        ("uptake around", "not asked for" if found.background is None else f"{found.background:.4g}{unit}"),
        ("smoothing", f"{found.shaping.smoothing_mm:g} mm"),
        ("parts dropped", _parts(found.dropped_cm3, found.shaping.least_cm3)),
    ]
    told += [(f"taken away by {name}", f"{cm3:.2f} cm3") for name, cm3 in found.spared_cm3.items()]
    if not found.spared_cm3:
        told.append(("taken away by planning risk volumes", "nothing: none is drawn, and none was named"))
    return told


def _parts(dropped_cm3: Sequence[float], least_cm3: float) -> str:
    if not dropped_cm3:
        return f"none smaller than {least_cm3:g} cm3"
    return f"{len(dropped_cm3)} smaller than {least_cm3:g} cm3, {sum(dropped_cm3):.2f} cm3 in all"


def _picture(result: Subdivision) -> Picture:
    """The planning CT, the image of function over it, and the contours, in three planes through the sub-volume."""
    case, image, found = result.case, result.image, result.found
    points = np.concatenate(found.structure.contours)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2.0
    target = case.structures[found.target]
    low, high = target.bounds_mm()
    box = (low - _ROOM_MM, high + _ROOM_MM)
    ct: Image = case.ct.image
    scale = float(np.nanmax(image.image.values))
    drawn = [(target, _TARGET), *((case.structures[n], _SPARED) for n in result.spared), (found.structure, _PART)]

    def paint(ax: Any, cut: Cut) -> Any:
        background(ax, cut, window_of(ct))
        wash = ax.imshow(
            np.ma.masked_less(np.ma.masked_invalid(read(image.image, cut.points_mm)), _FAINT * scale), cmap="inferno",
            alpha=0.55, vmin=0.0, vmax=scale, extent=cut.extent, origin=cut.origin, aspect="equal",
            interpolation="bilinear",
        )  # fmt: skip
        for structure, colour in drawn:
            if not structure.is_empty:
                draw_structure(ax, cut.plane, structure, centre, ct, colour)
        return wash

    names = [(found.target, _TARGET), (found.structure.name, _PART), *((name, _SPARED) for name in result.spared[:3])]
    handles = [mpl.lines.Line2D([], [], color=colour, lw=2, label=name) for name, colour in names]
    unit = "" if image.quantity.unit == "1" else f", {image.quantity.unit}"
    caption = (
        f"Planning CT with {image.quantity.text} over it. Transverse z {centre[2]:.1f} mm, coronal y "
        f"{centre[1]:.1f} mm, sagittal x {centre[0]:.1f} mm, LPS. R, L, A, P, H, F: directions of the patient."
    )
    cuts = [cut_through(ct, plane, centre) for plane in PLANES]
    alt = "image of function over the planning CT with contours"
    return drawn_planes([("", paint)], cuts, box, f"{image.quantity.id}{unit}", caption, alt, handles)
