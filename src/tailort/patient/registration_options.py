"""How a person wants an earlier course's CT to be registered with today's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

from tailort.errors import InputError

RegistrationMethod = Literal["deformable", "rigid"]


@dataclass(frozen=True)
class RegistrationOptions:
    """Choices for one registration; structures are named as they are drawn.

    Parameters
    ----------
    method : {"deformable", "rigid"}
        Whether tissue may bend, or the scan turns and shifts as a whole.
    region : str or None
        Structure of today that the turn and shift must bring together, such as the spinal canal; None takes the body.
    guides : tuple of str
        Structures drawn on both scans whose agreement counts beside the CT numbers; deformable only.
    without : tuple of str
        Structures of tissue that has no counterpart on the other scan, drawn on either; deformable only. The earlier
        dose of such tissue is not known from the place where it lies today.
    sliding : tuple of str
        Structures drawn on both scans, such as both lungs, that together slide along their wall; deformable only.

    Raises
    ------
    InputError
        When the method is unknown, a name is empty or has two parts to play, or a rigid registration is to bend.
    """

    method: RegistrationMethod = "deformable"
    region: str | None = None
    guides: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    sliding: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in get_args(RegistrationMethod):
            raise InputError(
                f"unknown method '{self.method}' of registration; known are {', '.join(get_args(RegistrationMethod))}"
            )
        named = (*self.guides, *self.without, *self.sliding)
        if self.region == "" or "" in named:
            raise InputError("a structure that a registration is to look at needs a name; found an empty one")
        if self.method == "rigid" and named:
            raise InputError(
                f"a rigid registration turns and shifts the scan as a whole and takes no {', '.join(named)}; name one "
                "structure as 'region', or choose the method 'deformable'"
            )
        twice = [name for name, count in Counter(name.lower() for name in named).items() if count > 1]
        if twice:
            raise InputError(
                f"structure '{twice[0]}' is named twice for one registration; name it once, under 'guides', 'without' "
                "or 'sliding'"
            )
