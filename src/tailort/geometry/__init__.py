"""Grids, images, transforms, contours: where things are."""

from tailort.geometry.average import average
from tailort.geometry.grid import Grid
from tailort.geometry.iec import PatientPosition, beam_axes
from tailort.geometry.image import Image
from tailort.geometry.resample import interpolate, resample
from tailort.geometry.transform import Transform

__all__ = ["Grid", "Image", "PatientPosition", "Transform", "average", "beam_axes", "interpolate", "resample"]
