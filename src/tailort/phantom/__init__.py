"""Virtual patients: analytic anatomy, its CT, contours, clinical record and truth; and solid test phantoms."""

from tailort.phantom import salvage, spine, tg119
from tailort.phantom.tg119 import SolidPhantom
from tailort.phantom.virtual_patient import NAMES, VirtualPatient, make

__all__ = ["NAMES", "SolidPhantom", "VirtualPatient", "make", "salvage", "spine", "tg119"]
