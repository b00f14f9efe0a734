"""What is exactly known of a virtual patient: volumes by integration of the solids, landmarks, the tumour."""

from __future__ import annotations

from typing import Any

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy import Anatomy
from tailort.phantom.contours import lattice
from tailort.phantom.shapes import Shape

_PLANES = 48
_WIDEST_PLANE_STEP_MM = 4.0
_LINES = 64


def volume_cm3(shape: Shape, low: float, high: float) -> float:
    """Volume of a solid between two planes, cm3: midpoint rule over planes, covered share of lattice cells in each.

    Independent of the contours and of the CT's slices; within 0.5 % for every organ here.
    """
    bottom, top = shape.z_range
    bottom, top = max(bottom, low), min(top, high)
    if top <= bottom:
        return 0.0
    planes = max(_PLANES, int(np.ceil((top - bottom) / _WIDEST_PLANE_STEP_MM)))
    step = (top - bottom) / planes
    total = 0.0
    for z in bottom + step * (np.arange(planes) + 0.5):
        found = lattice(shape, float(z), _LINES, 0.2)
        if found is None:
            continue
        x, y = found
        cell = float(x[0, 1] - x[0, 0])
        field = shape.field(x, y, float(z))
        total += float(np.clip(0.5 - field / cell, 0.0, 1.0).sum()) * cell * cell * step
    return total / 1000.0


def volumes_cm3(anatomy: Anatomy, low: float, high: float) -> dict[str, float]:
    """Volume of every structure between two planes of body coordinates, cm3."""
    known: dict[int, float] = {}
    volumes = {}
    for name, (_, parts) in anatomy.organs.items():
        for part in parts:
            if id(part) not in known:
                known[id(part)] = volume_cm3(part, low, high)
        volumes[name] = round(sum(known[id(part)] for part in parts), 4)
    return volumes


def describe(anatomy: Anatomy, planes_mm: tuple[float, float]) -> dict[str, Any]:
    """Truth of a body that was scanned between two end faces, world LPS mm; plain values, ready for JSON."""
    a, b = anatomy, anatomy.build
    shift = np.array(b.offset_mm)
    low, high = planes_mm[0] - b.offset_mm[2], planes_mm[1] - b.offset_mm[2]

    def at(point: Any) -> list[float]:
        return [round(float(v), 3) for v in np.asarray(point, dtype=float) + shift]

    upper, lower = a.tumour_along_mm
    centre = a.on_oesophagus(a.tumour_centre_cm)
    head, end = a.oesophagus_line[0], a.oesophagus_line[-1]
    hiatus_z = p.HIATUS_Z * a.sz
    line = a.oesophagus_line
    hiatus = [float(np.interp(-hiatus_z, -line[:, 2], line[:, axis])) for axis in range(3)]
    notch_z = p.STERNAL_NOTCH_Z * a.sz
    coeliac_z = a.vertebra("VB_T12").bottom
    domes = {}
    for name, side in (("diaphragm_dome_left", 1), ("diaphragm_dome_right", -1)):
        x, y = np.meshgrid(side * np.linspace(25, 110, 60), np.linspace(-60, 60, 60))
        height = a.diaphragm_z(x, y)
        n = int(np.argmax(height))
        domes[name] = at((x.flat[n], y.flat[n], height.flat[n]))
    return {
        "name": "oesophagus",
        "seed": b.seed,
        "volumes_cm3": volumes_cm3(a, low, high),
        "volume_limits_mm": [round(planes_mm[0], 3), round(planes_mm[1], 3)],
        "landmarks_mm": {
            "carina": at(a.carina),
            "tracheal_bifurcation": at(a.carina),
            "sternal_notch": at((0.0, a.sternum_y(notch_z), notch_z)),
            "incisors": at((0.0, -80 * a.sy, 191 * a.sz)),
            "cricoid_lower_edge": at(a.trachea_centre((p.CRICOID_Z - 6) * a.sz)),
            "oesophagus_inlet": at(head),
            "diaphragm_hiatus": at(hiatus),
            "gastro_oesophageal_junction": at(end),
            "aortic_arch_top": at(a.arch_top),
            "coeliac_origin": at(
                (a.spine_x(coeliac_z) + 5.5 * a.sx, a.spine_front(coeliac_z) - 12.5 * a.sy, coeliac_z)
            ),
            "tumour_centre": at(centre),
            "tumour_upper_end": at(a.on_oesophagus(a.incisors_cm(upper))),
            "tumour_lower_end": at(a.on_oesophagus(a.incisors_cm(lower))),
            "node_centre": at(a.node.centre),
            **domes,
        },
        "vertebral_bodies_mm": {
            v.name: {"top": round(v.top + shift[2], 3), "bottom": round(v.bottom + shift[2], 3),
                     "centre": at((a.spine_x(v.middle), a.spine_y(v.middle), v.middle))}
            for v in a.vertebrae
        },
        "oesophagus": {
            "length_mm": round(a.oesophagus_length_mm, 3),
            "incisors_to_inlet_cm": round(a.incisors_cm(0.0), 3),
            "incisors_to_junction_cm": round(a.incisors_cm(a.oesophagus_length_mm), 3),
        },
        "tumour": {
            "level": b.level,
            "upper_end_from_incisors_cm": round(a.incisors_cm(upper), 3),
            "centre_from_incisors_cm": round(a.tumour_centre_cm, 3),
            "lower_end_from_incisors_cm": round(a.incisors_cm(lower), 3),
            "length_mm": round(lower - upper, 3),
            "wall_thickness_mm": round(b.wall_thickness_mm, 3),
            "node_short_axis_mm": round(2 * a.node.radii[0], 3),
        },
        "body": {
            "sex": b.sex, "stature_m": b.stature_m, "subcutaneous_fat_mm": round(b.fat_mm, 2),
            "scale_xyz": [round(s, 4) for s in b.scale], "origin_mm": [float(v) for v in b.offset_mm],
        },
    }  # fmt: skip
