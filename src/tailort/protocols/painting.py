"""A prescription that is painted: which dose a point of a target gets by an image of function, in which range."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tailort.protocols.section import Distance, Name, Positive, Section

Map = Literal["linear", "power", "sigmoid", "contours"]
Share = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Percentile = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
# What only some maps have, and must have.
_OF_MAP: dict[str, tuple[Map, ...]] = {"exponent": ("power",), "steepness": ("sigmoid",), "threshold": ("contours",)}


class AwayFrom(Section):
    """An organ near which nothing is painted: within the margin every point gets the least dose."""

    structure: Name
    margin_mm: Distance


class PaintedEntry(Section):
    """How a dose is painted between the `dose_gy` of its prescription, the least, and `most_gy`.

    Parameters
    ----------
    of, if_drawn : tuple of str
        Structures whose points are painted by their own uptake; the rest of the target gets what the nearest point of
        them gets.
    image : str
        Name of the functional quantity.
    map : str
        "linear" between the two uptakes (RB-141); "power", the same to the `exponent`; "sigmoid", the logistic function
        between them, as steep in the middle as `steepness` times the line; "contours", the least below `threshold`
        and the most from it on (RB-140).
    low, high : float
        The two uptakes as shares of the `percentile` of the uptake in the structures; `threshold` is one too.
    smooth_mm : float
        Width (FWHM) of the Gaussian by which the uptake inside the structures is smoothed first.
    point_spread_mm : float
        Of the image, FWHM, as its scanner was measured to have: the uptake that blur carried over the surface of the
        structures is put back, and the percentile is one of what then is there. 0 is unknown: nothing is put back.
    mean_gy : float or None
        Mean dose that the painted structures are to keep (redistribution): the doses are shifted inside the range.
    away_from : tuple of AwayFrom
        Where nothing is painted (RB-147).
    """

    of: Annotated[tuple[Name, ...], Field(min_length=1)]
    if_drawn: tuple[Name, ...] = ()
    image: Name
    most_gy: Positive
    map: Map
    low: Share
    high: Share
    percentile: Percentile
    exponent: Positive | None = None
    steepness: Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)] | None = None
    threshold: Share | None = None
    smooth_mm: Distance = 0.0
    point_spread_mm: Distance = 0.0
    mean_gy: Positive | None = None
    away_from: tuple[AwayFrom, ...] = ()
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_its_map(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"'low' must be below 'high'; found {self.low:g} and {self.high:g}")
        for name, maps in _OF_MAP.items():
            given = getattr(self, name) is not None
            if given and self.map not in maps:
                raise ValueError(f"'{name}' goes with the map {' or '.join(maps)}, not with '{self.map}'")
            if not given and self.map in maps:
                raise ValueError(f"the map '{self.map}' needs '{name}'")
        return self


def painting_in_words(least_gy: float, painted: PaintedEntry) -> str:
    """Say how a dose is painted in one line."""
    by = {
        "linear": "linear in",
        "power": f"by the power {painted.exponent or 1:g} of",
        "sigmoid": f"by a sigmoid, {painted.steepness or 1:g} times as steep as the line, of",
        "contours": f"in two levels, parted at {100 * (painted.threshold or 0):g} %, by",
    }[painted.map]
    mean = "" if painted.mean_gy is None else f", mean {painted.mean_gy:g} Gy"
    smooth = f", smoothed over {painted.smooth_mm:g} mm" if painted.smooth_mm else ""
    spread = painted.point_spread_mm
    blur = f", its blur of {spread:g} mm over the surface taken back" if spread else ""
    away = "".join(f", least within {one.margin_mm:g} mm of {one.structure}" for one in painted.away_from)
    of = " and ".join((*painted.of, *(f"{name} if drawn" for name in painted.if_drawn)))
    return (
        f"{least_gy:g} to {painted.most_gy:g} Gy painted in {of}, {by} {painted.image} from {100 * painted.low:g} % to "
        f"{100 * painted.high:g} % of its {painted.percentile:g}th percentile{smooth}{blur}{mean}{away}"
    )
