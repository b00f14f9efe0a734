"""What a person types as one option, as records: densities, goals, set-up errors, metrics, density tables."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from tailort.errors import InputError
from tailort.patient import Constraint
from tailort.physics import DensityTable, density_table_of_csv, density_tables
from tailort.radiobiology import in_its_quantity
from tailort.workflow.options import setup_errors
from tailort.workflow.trading import Asked

_METRIC = re.compile(
    r"^(?P<structure>[^:]+):\s*(?P<metric>[^\s]+\])"
    r"(?:\s+(?P<quantity>BED|EQD2)\(a/b=(?P<ab>\d+(?:\.\d+)?)\))?"
    r"(?:\s*(?P<operator><=|>=|<|>)\s*(?P<limit>\d+(?:\.\d+)?))?$"
)
_GOAL = re.compile(r"^(?P<structure>[^:]+?)\s*:\s*(?P<metric>\S+\])$")
_NUMBER = re.compile(r"^(?P<goal>.+?)\s*:\s*(?P<gy>\d+(?:\.\d+)?)\s*(?:Gy)?$")


def read_density_table(name_or_file: str) -> DensityTable:
    """Packaged table of this name, else the one in a CSV file.

    Raises
    ------
    InputError
        When there is neither; the known names are listed.
    """
    known = density_tables()
    if name_or_file in known:
        return known[name_or_file]
    path = Path(name_or_file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "there is no such file" if missing else "that file cannot be read as text"
        raise InputError(
            f"density table '{name_or_file}' is none of {', '.join(sorted(known))}, and {reason}; give a name or a CSV "
            "file with the columns hu,density_g_cm3"
        ) from error
    return density_table_of_csv(text, path.name)


def density_of_text(text: str) -> tuple[str, float]:
    """Structure and its density, g/cm3, of "Structure=1.00".

    Raises
    ------
    InputError
        When the text has another form.
    """
    name, _, number = text.rpartition("=")
    try:
        g_cm3 = float(number)
    except ValueError:
        g_cm3 = math.nan
    if not name.strip() or not math.isfinite(g_cm3):
        raise InputError(f"'{text}' gives no structure a density; expected 'CouchInterior=0.08', in g/cm3")
    return name.strip(), g_cm3


def goals_of_text(goals: tuple[str, ...], worst: tuple[str, ...] = (), at: tuple[str, ...] = ()) -> tuple[Asked, ...]:
    """Goals to trade, of "Heart: Mean[Gy]", with the numbers of "Heart: 20" or "Heart: Mean[Gy]: 20".

    Raises
    ------
    InputError
        When a text has another form, two goals are the same, or a number belongs to no goal or to several.
    """
    found: list[Asked] = []
    for text in goals:
        form = _GOAL.match(text.strip())
        if form is None:
            raise InputError(f"'{text}' is not a goal to trade; expected 'Heart: Mean[Gy]' or 'PTV_6600: D95%[Gy]'")
        found.append(Asked(form["structure"].strip(), form["metric"]))
    labels = [_label(one) for one in found]
    twice = next((text for text, label in zip(goals, labels, strict=True) if labels.count(label) > 1), None)
    if twice is not None:
        raise InputError(f"the goal '{twice}' is given twice")
    worst_gy, at_gy = _numbers(found, worst, "--worst"), _numbers(found, at, "--at")
    return tuple(replace(one, worst_gy=worst_gy.get(n), at_gy=at_gy.get(n)) for n, one in enumerate(found))


def _label(one: Asked) -> str:
    return f"{one.structure}:{one.metric}".lower()


def _numbers(goals: list[Asked], texts: tuple[str, ...], option: str) -> dict[int, float]:
    """Gy by the number of the goal."""
    told: dict[int, float] = {}
    for text in texts:
        form = _NUMBER.match(text.strip())
        if form is None:
            raise InputError(f"{option} '{text}' gives no goal a dose; expected 'Heart: 20', in Gy")
        name = re.sub(r"\s*:\s*", ":", form["goal"].strip()).lower()
        own = [n for n, one in enumerate(goals) if name in (one.structure.lower(), _label(one))]
        listed = ", ".join(f"'{one.structure}: {one.metric}'" for one in goals)
        if len(own) != 1:
            which = "no goal" if not own else "several goals"
            raise InputError(f"{option} '{text}' is on {which} of {listed}; name one: 'Heart: Mean[Gy]: 20'")
        if own[0] in told:
            raise InputError(f"{option} gives '{form['goal'].strip()}' two doses; give one")
        told[own[0]] = float(form["gy"])
    return told


def setup_of_text(text: str | None) -> dict[str, Any]:
    """Options of set-up errors: of "5,5,5" shifts, of "3,3,3/2,2,2" spreads, systematic before random; of None nothing.

    Raises
    ------
    InputError
        As `setup_errors_of_text`.
    """
    if text is None:
        return {}
    systematic, slash, random = text.partition("/")
    if not slash:
        return {"setup_errors_mm": setup_errors_of_text(text)}
    nothing = random.replace(" ", "").split(",") == ["0", "0", "0"]
    daily = (0.0, 0.0, 0.0) if nothing else setup_errors_of_text(random)
    return {"setup_spread_mm": (setup_errors_of_text(systematic), daily)}


def setup_errors_of_text(text: str) -> tuple[float, float, float]:
    """Set-up errors, mm, of "5,5,5": left-right, anterior-posterior, cranio-caudal.

    Raises
    ------
    InputError
        When the text has another form, or no patient lies off like that.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"'{text}' are no set-up errors; expected three lengths in mm, left-right, anterior-posterior and "
            "cranio-caudal, such as '5,5,5'"
        ) from error
    return setup_errors(values)


def constraint_of_text(text: str) -> Constraint:
    """Metric of a structure, with a limit or without, of "Heart: Mean[Gy] EQD2(a/b=3) < 26".

    Raises
    ------
    InputError
        When the text has another form.
    """
    form = _METRIC.match(text.strip())
    if form is None:
        raise InputError(
            f"'{text}' is not a metric of a structure; expected 'Heart: V40Gy[%]', and if wanted EQD2(a/b=3) and "
            "a limit: 'Heart: Mean[Gy] EQD2(a/b=3) < 26'"
        )
    judged = form["limit"] is not None
    operator: Any = form["operator"] or "<="
    quantity: Any = form["quantity"] or "physical"
    asked = Constraint(
        structure=form["structure"].strip(),
        metric=form["metric"],
        operator=operator,
        limit=float(form["limit"]) if judged else 0.0,
        priority="goal" if judged else "report",
        source="--metric",
        quantity=quantity,
        alpha_beta_gy=float(form["ab"]) if form["ab"] else None,
    )
    return in_its_quantity(asked)
