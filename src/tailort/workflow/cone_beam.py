"""CT numbers of a cone-beam CT: brought to those of the planning CT by a way that a person names, never silently."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from tailort.errors import InputError
from tailort.geometry import Image
from tailort.patient import Scan
from tailort.registration import rigid
from tailort.workflow.propagating import body_in

HuCorrection = Literal["table", "histogram", "none"]
# How a series calls itself when it is a cone-beam CT.
_CONE_BEAM = re.compile(r"\b(cbct|cone[ -]?beam|xvi|obi)\b", re.IGNORECASE)
# Quantiles of the body's CT numbers that are brought together.
QUANTILES = 201
AIR_HU, AIR_BELOW_HU = -1000.0, -500.0


def correction_of(text: str | None) -> HuCorrection | None:
    """Read the name of a correction; None where nobody says one.

    Raises
    ------
    InputError
        For another name.
    """
    if text is None:
        return None
    known: tuple[HuCorrection, ...] = get_args(HuCorrection)
    for name in known:
        if text == name:
            return name
    raise InputError(f"unknown correction of CT numbers '{text}'; known are {', '.join(get_args(HuCorrection))}")


def is_cone_beam(scan: Scan) -> bool:
    """Whether a series says of itself that it is a cone-beam CT."""
    return _CONE_BEAM.search(scan.description) is not None


def corrected(scan: Scan, planning: Scan, how: HuCorrection | None, called: str) -> tuple[Scan, str]:
    """A scan with CT numbers that the planning CT's table can read, and what was done, in words.

    Parameters
    ----------
    scan : Scan
        Of the day.
    planning : Scan
        The planning CT.
    how : {"table", "histogram", "none"} or None
        "histogram" brings the CT numbers within the body to those of the planning CT quantile by quantile, where both
        scans show the body after a turn and shift; "table" leaves them for a density table of their own; "none" takes
        them as they are. None is for a CT.
    called : str
        The scan, for people.

    Raises
    ------
    InputError
        When the series says that it is a cone-beam CT and nobody says how it is corrected.

    Notes
    -----
    Air around the patient becomes -1000 HU: in its noise a deformable registration finds shifts that move the skin.

    Matched quantiles keep the order of CT numbers and know nothing of where they are: streaks and scatter stay, and an
    anatomy that has changed much (an effusion) changes the quantiles too.
    """
    if how is None:
        if is_cone_beam(scan):
            raise InputError(
                f"{called} is a cone-beam CT by its description '{scan.description}', whose CT numbers are not those "
                "of the planning CT; say --hu-correction table, histogram or none"
            )
        return scan, ""
    scan = replace(scan, image=_with_still_air(scan.image, called))
    if how == "table":
        return scan, f"CT numbers of {called} are read by the density table that was named for it (--hu-correction)"
    if how == "none":
        return scan, f"CT numbers of {called} are taken as those of the planning CT (--hu-correction none)"
    image, reference = scan.image, planning.image
    found = rigid(image, reference, metric="mutual information")
    mapped = found.map_image(reference, image.grid, np.nan).values
    body = body_in(image, called)
    before = found.map_image(
        Image(reference.grid, body_in(reference, "the planning CT").astype(np.float32), "1"), image.grid, 0.0
    )
    both = body & np.isfinite(mapped) & (before.values >= 0.5)
    if not both.any():
        raise InputError(f"{called} and the planning CT show no part of the body in common; check both")
    shares = np.linspace(0.0, 100.0, QUANTILES)
    own, wanted = (np.percentile(values[both], shares) for values in (image.values, mapped))
    steps = np.flatnonzero(np.diff(own, prepend=-np.inf) > 0)
    values = np.where(body, np.interp(image.values, own[steps], wanted[steps]), image.values)
    largest = float(np.abs(own - wanted).max())
    told = (
        f"CT numbers of {called} were brought to those of the planning CT by the quantiles of the body "
        f"(--hu-correction histogram); the largest change of a quantile is {largest:.0f} HU"
    )
    return replace(scan, image=image.with_values(values.astype(np.float32))), told


def _with_still_air(image: Image, called: str) -> Image:
    """A scan without noise in the air around the patient."""
    air = ~body_in(image, called) & (image.values < AIR_BELOW_HU)
    return image.with_values(np.where(air, AIR_HU, image.values).astype(np.float32))
