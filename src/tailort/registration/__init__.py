"""How scans of different days lie to each other: rigid and deformable registration, its quality and uncertainty."""

from tailort.registration.demons import Guide, deformable
from tailort.registration.field import Field
from tailort.registration.records import Measure, Quality
from tailort.registration.registration import Registration
from tailort.registration.turn_and_shift import rigid

__all__ = ["Field", "Guide", "Measure", "Quality", "Registration", "deformable", "rigid"]
