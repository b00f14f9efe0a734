"""The analytic body of one person, region by region; every organ is an implicit solid."""

from tailort.phantom.anatomy.person import Anatomy, Body, Organs

__all__ = ["Anatomy", "Body", "Organs"]
