"""The grammar of dose-volume metrics: D95%[Gy], V20Gy[%], D0.035cc[Gy], Mean[Gy]."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, cast

from tailort.errors import InputError

Kind = Literal["Max", "Mean", "Min", "Median", "D", "V", "CV", "Volume"]

_FORM = re.compile(
    r"^(?:(?P<plain>Max|Mean|Min|Median|Volume)|(?P<kind>D|V|CV)(?P<at>\d+(?:\.\d+)?)(?P<unit>cc|%|Gy))"
    r"\[(?P<out>Gy|%|cc)\]$"
)
_INPUT_UNITS: dict[str, tuple[str, ...]] = {"D": ("cc", "%"), "V": ("Gy", "%"), "CV": ("Gy", "%")}
_OUTPUT_UNITS: dict[str, tuple[str, ...]] = {"D": ("Gy", "%"), "V": ("%", "cc"), "CV": ("%", "cc"), "Volume": ("cc",)}


@dataclass(frozen=True)
class Metric:
    """One number asked of a dose in a structure.

    Parameters
    ----------
    kind : str
        Max, Mean, Min, Median: of the dose; D: dose to the hottest volume `at`; V: volume with at least the
        dose `at`; CV: volume with less than the dose `at`; Volume: of the structure.
    at : float or None
        The number after D, V or CV.
    at_unit : str or None
        "cc" or "%" (of the volume) after D; "Gy" or "%" (of the prescription) after V and CV.
    unit : str
        Unit of the answer: "Gy", "%" or "cc". "%" of a dose is of the prescription.

    References
    ----------
    AAPM TG-263 (Mayo et al. 2018), section 9, in the form of the project's grammar NM-67.
    """

    kind: Kind
    at: float | None
    at_unit: Literal["cc", "%", "Gy"] | None
    unit: Literal["Gy", "%", "cc"]

    @classmethod
    def parse(cls, text: str) -> Metric:
        """Read a metric from its printed form."""
        form = _FORM.match(text.replace(" ", ""))
        if form is None:
            raise InputError(
                f"'{text}' is not a metric; expected Max, Mean, Min, Median or Volume, or D, V or CV with a number and "
                "cc, % or Gy, then the unit in brackets: 'D95%[Gy]', 'V20Gy[%]', 'D0.035cc[Gy]', 'Mean[Gy]'"
            )
        kind = form["plain"] or form["kind"]
        at_unit = form["unit"]
        if at_unit is not None and at_unit not in _INPUT_UNITS[kind]:
            raise InputError(f"'{text}': {kind} takes a number in {' or '.join(_INPUT_UNITS[kind])}, not {at_unit}")
        allowed = _OUTPUT_UNITS.get(kind, ("Gy", "%"))
        if form["out"] not in allowed:
            raise InputError(f"'{text}': {kind} is given in {' or '.join(allowed)}, not {form['out']}")
        at = float(form["at"]) if form["at"] else None
        if kind == "D" and at_unit == "%" and at is not None and at > 100:
            raise InputError(f"'{text}': a volume above 100 % does not exist")
        return cls(cast(Kind, kind), at, cast(Any, at_unit), cast(Any, form["out"]))

    @property
    def is_dose(self) -> bool:
        """Whether the answer is a dose (not a volume)."""
        return self.kind in ("Max", "Mean", "Min", "Median", "D")

    def __str__(self) -> str:
        at = "" if self.at is None else f"{self.at:g}{self.at_unit}"
        return f"{self.kind}{at}[{self.unit}]"
