"""Virtual patients: analytic anatomy, its CT, contours, clinical record and truth; and solid test phantoms."""

from tailort.phantom import adaptive, painting, salvage, spine, tg119
from tailort.phantom.adaptive import AdaptivePatient, WeeklyScan
from tailort.phantom.bending import Bending
from tailort.phantom.earlier import EarlierAnatomy, earlier_scan
from tailort.phantom.modalities import FurtherScan, further_scans
from tailort.phantom.painting import PaintingPatient
from tailort.phantom.pet import PetScan
from tailort.phantom.tg119 import SolidPhantom
from tailort.phantom.virtual_patient import NAMES, VirtualPatient, make
from tailort.phantom.weekly_map import WeeklyMap, true_accumulated_dose

__all__ = [
    "NAMES", "AdaptivePatient", "Bending", "EarlierAnatomy", "FurtherScan", "PaintingPatient", "PetScan",
    "SolidPhantom", "VirtualPatient", "WeeklyMap", "WeeklyScan", "adaptive", "earlier_scan", "further_scans", "make",
    "painting", "salvage", "spine", "tg119", "true_accumulated_dose",
]  # fmt: skip
