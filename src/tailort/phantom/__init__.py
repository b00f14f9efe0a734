"""Virtual patients: analytic anatomy, its CT, contours, clinical record and truth."""

from tailort.phantom.virtual_patient import NAMES, VirtualPatient, make

__all__ = ["NAMES", "VirtualPatient", "make"]
