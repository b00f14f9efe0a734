"""Ways to say which part of a target has high uptake (or low diffusion), by name.

All but the gradient give one level: what lies above it belongs to the sub-volume. Where low values are sought the sign
of image and background is turned before, so that what is sought is always high.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.targets.steepest_edge import require_contrast
from tailort.targets.uptake_classes import kmeans, mixture_level

Values = NDArray[np.float64]

OWN = "a person's own number, no source"
# Voxels with at least this share of the highest make the mean of the brightest.
_BRIGHT = 0.70
_CLASSES = (2.0, 3.0)


@dataclass(frozen=True)
class Method:
    """One way.

    Parameters
    ----------
    id : str
        Name on the command line.
    text : str
        What it does, with its formula.
    number : str
        What its number is; empty where it takes none.
    default : float or None
        Number where a person gives none; None has to be given, or there is none.
    source, mark : str
        Of the formula; numbers have their own, see `evidence`.
    background : bool
        Whether it needs the uptake around the target.
    """

    id: str
    text: str
    number: str
    default: float | None
    source: str
    mark: str
    background: bool = False


METHODS: Mapping[str, Method] = {
    one.id: one
    for one in (
        Method(
            "relative", "at least N % of the highest value in the target", "percent of the highest", 50.0, "RB-140",
            "lit-recalled",
        ),
        Method(
            "absolute", "at least N in the unit of the image; at most N where low values are sought",
            "value in the unit of the image", None, "RB-140, RB-146", "lit-recalled",
        ),
        Method(
            "contrast", "at least B + N % of (highest - B), B the uptake around: half-way up lies an edge "
            "that a symmetric blur has smeared", "percent of the contrast", 50.0,
            "follows from a symmetric point spread function", "derived", background=True,
        ),
        Method(
            "nestle", "at least N x M + B, M the mean of what has 70 % of the highest value or more, B the uptake "
            "around",
            "factor of the mean", 0.15, "Nestle et al., J Nucl Med 2005;46:1342", "lit-recalled", background=True,
        ),
        Method(
            "gradient", "watershed of the steepness, flooded from above 80 % of the contrast, and from below "
            "20 % and what lies 10 mm beyond the target", "", None,
            "Geets et al., Eur J Nucl Med Mol Imaging 2007;34:1427; Vincent and Soille, IEEE Trans Pattern Anal Mach "
            "Intell 1991;13:583", "lit-recalled", background=True,
        ),
        Method(
            "kmeans", "the highest of N classes of the target's values by k-means (least sum of squares found)",
            "number of classes", 2.0, "Lloyd, IEEE Trans Inf Theory 1982;28:129", "lit-recalled",
        ),
        Method(
            "gmm", "the highest of N classes by a mixture of Gaussians (expectation maximisation begun at the "
            "k-means); the edge is where both highest classes are equally likely", "number of classes", 2.0,
            "Dempster, Laird, Rubin, J R Stat Soc B 1977;39:1; of PET: Aristophanous et al., Med Phys 2007;34:4223",
            "lit-recalled",
        ),
    )
}  # fmt: skip
"""Methods by name."""

_RECALLED = ("RB-140", "lit-recalled")
_EVIDENCE: Mapping[tuple[str, str, float], tuple[str, str]] = {
    **{("fdg-suv", "relative", percent): _RECALLED for percent in (40.0, 50.0, 60.0, 70.0)},
    ("fdg-suv", "relative", 20.0): ("RB-145, stored abstract", "lit-verified"),
    ("fdg-suv", "absolute", 2.5): ("RB-140 (lit-recalled); RB-145, stored abstract", "lit-verified"),
    ("fmiso-tumour-to-blood", "absolute", 1.2): ("RB-146", "lit-recalled"),
    ("fmiso-tumour-to-blood", "absolute", 1.4): ("RB-146", "lit-recalled"),
}


@dataclass(frozen=True)
class Chosen:
    """A method with its number.

    Parameters
    ----------
    method : Method
        One of `METHODS`.
    number : float or None
        None where it takes none.
    """

    method: Method
    number: float | None

    def __post_init__(self) -> None:
        name, number = self.method.id, self.number
        if (number is None) != (not self.method.number):
            wanted = f"needs its number ({self.method.number})" if self.method.number else "takes no number"
            raise InputError(f"the method '{name}' {wanted}; found {number}")
        if number is None:
            return
        good = {
            "relative": 0 < number < 100, "contrast": 0 < number < 100, "absolute": np.isfinite(number) and number > 0,
            "nestle": 0 < number < 1, "kmeans": number in _CLASSES, "gmm": number in _CLASSES,
        }[name]  # fmt: skip
        if not good:
            asked = {"kmeans": "2 or 3", "gmm": "2 or 3", "nestle": "0 to 1", "absolute": "above 0"}.get(
                name, "0 to 100"
            )
            raise InputError(f"the method '{name}' takes {self.method.number}, {asked}; found {number:g}")

    def __str__(self) -> str:
        return self.method.id if self.number is None else f"{self.method.id}={self.number:g}"


def chosen_method(text: str) -> Chosen:
    """Read a method as a person writes it: "relative=50", "gradient", "kmeans=3".

    Raises
    ------
    InputError
        When the name is unknown, or the number is missing, none, or out of its range.
    """
    name, given, number = text.partition("=")
    method = METHODS.get(name.strip())
    if method is None:
        raise InputError(f"unknown method '{name}' for a sub-volume; known are {', '.join(METHODS)}")
    if not given:
        return Chosen(method, method.default)
    try:
        return Chosen(method, float(number))
    except ValueError:
        raise InputError(f"'{number}' is no number; write {method.id}=N, N the {method.number or 'nothing'}") from None


def evidence(chosen: Chosen, quantity_id: str) -> tuple[str, str]:
    """Source and mark of a method with its number, for a quantity."""
    method, number = chosen.method, chosen.number
    if method.id in ("relative", "absolute"):
        assert number is not None
        return _EVIDENCE.get((quantity_id, method.id, number), (OWN, "ambiguous"))
    if method.default is not None and number != method.default and method.id in ("contrast", "nestle"):
        return f"{method.source}, with {OWN}", "ambiguous"
    return method.source, method.mark


def level_of(values: Values, chosen: Chosen, background: float | None = None, sign: float = 1.0) -> float:
    """Level at and above which a voxel of the target belongs to the sub-volume.

    Parameters
    ----------
    values : (n,) float
        Of the target's voxels.
    chosen : Chosen
        Any method but the gradient.
    background : float or None
        Uptake around, for the methods that need it.
    sign : float
        -1 where the values were turned because low ones are sought: an absolute number is turned with them.

    Raises
    ------
    InputError
        When the background is missing or not below the target, or the classes cannot be told apart.
    """
    number = chosen.number
    assert number is not None
    top = float(values.max())
    name = chosen.method.id
    if name == "relative":
        if top <= 0:
            raise InputError(f"a share of the highest value needs one above 0; the target's is {top:g}")
        return number / 100.0 * top
    if name == "absolute":
        return sign * number
    if name in ("kmeans", "gmm"):
        centres = kmeans(values, int(number))
        return float(centres[-2:].mean()) if name == "kmeans" else mixture_level(values, centres)
    below = require_contrast(top, background)
    if name == "contrast":
        return below + number / 100.0 * (top - below)
    return number * float(values[values >= _BRIGHT * top].mean()) + below
