"""The grammar of metrics: D95%[Gy], V20Gy[%], D0.035cc[Gy], Mean[Gy]; NTCP(lung-quantec)[%]."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, cast

from tailort.errors import InputError

Kind = Literal["Max", "Mean", "Min", "Median", "D", "V", "CV", "Volume", "NTCP", "TCP", "ERR"]

_FORM = re.compile(
    r"^(?:(?P<plain>Max|Mean|Min|Median|Volume)|(?P<kind>D|V|CV)(?P<at>\d+(?:\.\d+)?)(?P<unit>cc|%|Gy))"
    r"\[(?P<out>Gy|%|cc)\]$"
)
_OUTCOME = re.compile(r"^(?P<kind>NTCP|TCP|ERR)\((?P<model>[a-z0-9]+(?:-[a-z0-9]+)*)\)\[%\]$")
_INPUT_UNITS: dict[str, tuple[str, ...]] = {"D": ("cc", "%"), "V": ("Gy", "%"), "CV": ("Gy", "%")}
_OUTPUT_UNITS: dict[str, tuple[str, ...]] = {"D": ("Gy", "%"), "V": ("%", "cc"), "CV": ("%", "cc"), "Volume": ("cc",)}


@dataclass(frozen=True)
class Metric:
    """One number asked of a dose in a structure.

    Parameters
    ----------
    kind : str
        Max, Mean, Min, Median: of the dose; D: dose to the hottest volume `at`; V: volume with at least the
        dose `at`; CV: volume with less than the dose `at`; Volume: of the structure. NTCP, TCP: chance of a
        complication or of control by the parameter set `model`; ERR: excess relative risk by it.
    at : float or None
        The number after D, V or CV.
    at_unit : str or None
        "cc" or "%" (of the volume) after D; "Gy" or "%" (of the prescription) after V and CV.
    unit : str
        Unit of the answer: "Gy", "%" or "cc". "%" of a dose is of the prescription.
    model : str
        Id of the set of parameters after NTCP, TCP and ERR; empty for others. Which sets there are, and for which
        structures, `tailort.radiobiology.outcome_models` knows.

    References
    ----------
    AAPM TG-263 (Mayo et al. 2018), section 9, in the form of the project's grammar NM-67.
    """

    kind: Kind
    at: float | None
    at_unit: Literal["cc", "%", "Gy"] | None
    unit: Literal["Gy", "%", "cc"]
    model: str = ""

    @classmethod
    def parse(cls, text: str) -> Metric:
        """Read a metric from its printed form."""
        outcome = _OUTCOME.match(text.replace(" ", ""))
        if outcome is not None:
            return cls(cast(Kind, outcome["kind"]), None, None, "%", outcome["model"])
        form = _FORM.match(text.replace(" ", ""))
        if form is None:
            raise InputError(
                f"'{text}' is not a metric; expected Max, Mean, Min, Median or Volume, or D, V or CV with a number and "
                "cc, % or Gy, then the unit in brackets: 'D95%[Gy]', 'V20Gy[%]', 'D0.035cc[Gy]', 'Mean[Gy]'; or NTCP, "
                "TCP or ERR of a named set of parameters: 'NTCP(lung-quantec)[%]'"
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

    @property
    def is_outcome(self) -> bool:
        """Whether the answer is a chance or a risk by a set of parameters."""
        return bool(self.model)

    def __str__(self) -> str:
        if self.is_outcome:
            return f"{self.kind}({self.model})[{self.unit}]"
        at = "" if self.at is None else f"{self.at:g}{self.at_unit}"
        return f"{self.kind}{at}[{self.unit}]"
