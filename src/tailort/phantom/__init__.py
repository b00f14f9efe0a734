"""Virtual patients: analytic anatomy, its CT, contours, clinical record and truth; and solid test phantoms."""

from tailort.phantom import salvage, spine, tg119
from tailort.phantom.bending import Bending
from tailort.phantom.earlier import EarlierAnatomy, earlier_scan
from tailort.phantom.modalities import FurtherScan, further_scans
from tailort.phantom.tg119 import SolidPhantom
from tailort.phantom.virtual_patient import NAMES, VirtualPatient, make

__all__ = [
    "NAMES", "Bending", "EarlierAnatomy", "FurtherScan", "SolidPhantom", "VirtualPatient", "earlier_scan",
    "further_scans", "make", "salvage", "spine", "tg119",
]  # fmt: skip
