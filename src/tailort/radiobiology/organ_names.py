"""The organ that a structure's TG-263 name tells."""

from __future__ import annotations

import re

_NOT_THE_ORGAN = re.compile(r"(_PRV\d*|[-^~].*)$", re.IGNORECASE)


def same_name(name: str) -> str:
    """Name for comparing: without regard to case.

    Examples
    --------
    >>> same_name("SPINALCORD") == same_name("SpinalCord")
    True
    """
    return name.strip().casefold()


def organ_of(structure: str) -> str:
    """Organ of a TG-263 name, for comparing: without margin, subtraction, detail or the mark of a part.

    Examples
    --------
    >>> organ_of("SpinalCord_PRV05"), organ_of("Lungs-GTV"), organ_of("Stomach^Conduit")
    ('spinalcord', 'lungs', 'stomach')
    """
    return _NOT_THE_ORGAN.sub("", same_name(structure))
