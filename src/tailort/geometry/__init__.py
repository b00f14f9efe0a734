"""Grids, images, transforms, contours: where things are."""

from tailort.geometry.average import average
from tailort.geometry.contours import check_contours
from tailort.geometry.grid import Grid
from tailort.geometry.iec import PatientPosition, beam_axes
from tailort.geometry.image import Image
from tailort.geometry.margins import Margin, contract, expand, intersect, subtract, unite
from tailort.geometry.resample import interpolate, resample
from tailort.geometry.solid import EndCap, PartialVolume, partial_volume, surface_points, volume_cm3
from tailort.geometry.transform import Transform

__all__ = [
    "EndCap",
    "Grid",
    "Image",
    "Margin",
    "PartialVolume",
    "PatientPosition",
    "Transform",
    "average",
    "beam_axes",
    "check_contours",
    "contract",
    "expand",
    "interpolate",
    "intersect",
    "partial_volume",
    "resample",
    "subtract",
    "surface_points",
    "unite",
    "volume_cm3",
]
