"""A machine from measured or published beam data.

Each free number of the machine acts on some kinds of data only (`PARAMETERS`). The differences between the data and
the collapsed-cone dose in a water tank are made small by Gauss-Newton steps within the numbers' limits; their
derivatives are differences at the start, improved after each step by what the step did (Broyden 1965). Horns follow
from measured profiles point by point: each node is multiplied by measured over computed.
"""

from __future__ import annotations

import copy
import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tailort.dose.collapsed_cone import water_dose
from tailort.errors import InputError
from tailort.physics.machine import Machine
from tailort.physics.machines import machine_of_facts

Float = NDArray[np.float64]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of beam data: what its value is, the unit of a difference, and the difference that counts as one."""

    text: str
    unit: str
    tolerance: float


KINDS = {
    "pdd": Kind("per cent of the maximum on the axis; depth 0 is the surface", "% of maximum", 1.0),
    "output": Kind("dose per MU relative to 100 x 100 mm at the same distance and depth", "%", 0.6),
    "tpr": Kind("tissue phantom ratio of depths 200 and 100 mm at the isocentre", "%", 0.5),
    "profile": Kind("per cent of the axis at the same depth, along x", "% of axis", 1.0),
    "penumbra": Kind("distance between 80 and 20 % of the axis along x, mm at the depth", "mm", 0.5),
    "width": Kind("distance between 50 % of the axis along x, mm in the isocentre plane", "mm", 0.5),
}
NUMBERS = ("field_x_mm", "field_y_mm", "ssd_mm", "depth_mm", "off_axis_mm", "value")
COLUMNS = ("kind", *NUMBERS, "weight", "set")


@dataclass(frozen=True)
class Parameter:
    """A number that can be fitted: its place among the machine's facts, step, limits, and the data it acts on.

    The limits of the electrons' energy are shares of the nominal energy.
    """

    place: tuple[str, ...]
    step: float
    limits: tuple[float, float]
    kinds: tuple[str, ...]


_DEPTH = ("pdd", "tpr", "output")
PARAMETERS = {
    "end_mev": Parameter(("spectrum", "value", "end_mev"), 0.2, (0.9, 1.1), _DEPTH),
    "aluminium_g_cm2": Parameter(("spectrum", "value", "aluminium_g_cm2"), 4.0, (0.0, 120.0), _DEPTH),
    "extrafocal_share": Parameter(("extrafocal_share", "value"), 0.01, (0.0, 0.25), ("pdd", "output")),
    "extrafocal_sigma_mm": Parameter(("extrafocal_sigma_mm", "value"), 3.0, (8.0, 60.0), ("pdd", "output")),
    "contamination_cm2_g": Parameter(("contamination_cm2_g", "value"), 0.001, (0.0, 0.03), ("pdd",)),
    "contamination_per_cm": Parameter(("contamination_per_cm", "value"), 0.2, (0.3, 3.0), ("pdd",)),
    "contamination_sigma_mm": Parameter(("contamination_sigma_mm", "value"), 10.0, (8.0, 200.0), ("pdd",)),
    "source_sigma_mm": Parameter(("source_sigma_mm", "value"), 0.2, (0.0, 3.0), ("penumbra", "profile")),
    "jaw_offset_mm": Parameter(("jaw_offset_mm", "value"), 0.2, (-2.0, 2.0), ("width",)),
}
# The horns, fitted to profiles.
PROFILE = "profile"
# Data across the beam; the numbers that act on them are fitted after the others.
LATERAL = ("profile", "penumbra", "width")

# Depths among which the maximum of a depth dose is found, mm.
MAXIMUM_DEPTHS_MM = np.arange(5.0, 40.0, 1.25)
# Voxels of the tank across and along the beam, mm: for depths, near the surface and for profiles.
DEPTH_VOXEL_MM, SURFACE_VOXEL_MM, PROFILE_VOXEL_MM = (5.0, 2.5), (5.0, 1.0), (2.0, 2.5)
NEAR_SURFACE_MM = 4.0
# Most steps, the share by which the sum of squares must still fall, and how far a step may go, in `Parameter.step`.
MOST_STEPS, LEAST_FALL = 14, 2e-3
FIRST_RADIUS, LEAST_RADIUS = 2.0, 0.05
# Differences, in the tolerance of their kind, that are none.
NEGLIGIBLE = 1e-3
# Horns are fitted this often, within this share of half the field.
PROFILE_ROUNDS, INSIDE_FIELD = 3, 0.85


@dataclass(frozen=True)
class Target:
    """One measured number.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    field_mm : (float, float)
        Sides of the jaws' field in the isocentre plane.
    ssd_mm, depth_mm, off_axis_mm : float
    value : float
        In the unit of its kind.
    weight : float
        0 is reported only.
    set : str
        Whose number it is.
    """

    kind: str
    field_mm: tuple[float, float]
    ssd_mm: float
    depth_mm: float
    off_axis_mm: float
    value: float
    weight: float
    set: str


@dataclass(frozen=True)
class Residual:
    """A target and what the machine gives for it, in the target's unit."""

    target: Target
    found: float

    @property
    def difference(self) -> float:
        """Found minus measured, in the unit of `Kind.unit`."""
        difference = self.found - self.target.value
        return 100 * difference / self.target.value if self.target.kind in ("output", "tpr") else difference


@dataclass(frozen=True, eq=False)
class MachineFit:
    """A fitted machine.

    Parameters
    ----------
    facts : dict
        The machine's numbers with value, source and mark, as machine files have them; fitted ones have their start.
    start, fitted : dict
        The free numbers before and after, by name; that of the horns is a list of distance and fluence.
    residuals : tuple of Residual
        Of all targets.
    converged : bool
        Whether the last step changed little.
    evaluations : int
        How often the dose of targets was computed.
    """

    facts: Facts
    start: dict[str, Any]
    fitted: dict[str, Any]
    residuals: tuple[Residual, ...]
    converged: bool
    evaluations: int


def read_targets(text: str, where: str) -> tuple[Target, ...]:
    """Beam data of a CSV text with the columns `COLUMNS`; weight (1) and set may be left out.

    Parameters
    ----------
    text : str
        Lines that start with # are comments.
    where : str
        The file's name, for messages.

    Raises
    ------
    InputError
        When a column is missing or a cell is no number or cannot be; names the line.
    """
    numbered = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not numbered:
        raise InputError(f"{where} is empty; expected beam data with the columns {','.join(COLUMNS)}")
    reader = csv.DictReader([line for _, line in numbered])
    missing = [name for name in COLUMNS[:7] if name not in (reader.fieldnames or [])]
    if missing:
        raise InputError(f"{where} lacks the column(s) {', '.join(missing)}; expected {','.join(COLUMNS)}")
    return tuple(_target(row, f"{where}, line {line}") for (line, _), row in zip(numbered[1:], reader, strict=True))


def _target(row: dict[str, Any], where: str) -> Target:
    if row["kind"] not in KINDS:
        raise InputError(f"{where}: unknown kind '{row['kind']}'; known are {', '.join(KINDS)}")
    try:
        x, y, ssd, depth, off, value = (float(row[name]) for name in NUMBERS)
        weight = float(row.get("weight") or 1.0)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: a cell is not a number; expected {', '.join(NUMBERS)}") from error
    allowed = (
        0 < x <= 400 and 0 < y <= 400 and 500 <= ssd <= 2000 and 0 <= depth <= 400 and value > 0 and weight >= 0
    )  # fmt: skip
    if not allowed or not np.isfinite([off, weight]).all():
        raise InputError(
            f"{where}: expected field sides of 0 to 400 mm, an ssd_mm of 500 to 2000, a depth_mm of 0 to 400, a value "
            "above 0 and a weight of at least 0"
        )
    return Target(row["kind"], (x, y), ssd, depth, off, value, weight, row.get("set") or "")


def residuals(machine: Machine, targets: Sequence[Target]) -> tuple[Residual, ...]:
    """Return what a machine gives for each target, by the collapsed-cone engine in a water tank."""
    grouped: dict[tuple[str, tuple[float, float], float], list[int]] = defaultdict(list)
    for n, target in enumerate(targets):
        grouped[target.kind, target.field_mm, target.ssd_mm].append(n)
    tank = _Tank(machine)
    found = np.zeros(len(targets))
    for (kind, field, ssd), members in grouped.items():
        depths = np.array([targets[n].depth_mm for n in members])
        if kind == "pdd":
            found[members] = 100 * tank.depth_dose(field, ssd, depths)
        elif kind == "output":
            standard = tank.along(STANDARD_FIELD_MM, ssd, depths)
            found[members] = tank.along(field, ssd, depths) / standard
        elif kind == "tpr":
            sad = machine.source_axis_distance_mm
            deep, shallow = (float(tank.along(field, sad - d, np.array([d]))[0]) for d in (200.0, 100.0))
            found[members] = deep / shallow
        elif kind == "profile":
            off = np.array([targets[n].off_axis_mm for n in members])
            found[members] = 100 * tank.across(field, ssd, depths, off)
        else:
            for n, depth in zip(members, depths, strict=True):
                found[n] = tank.edge(field, ssd, float(depth), kind)
    return tuple(Residual(target, float(value)) for target, value in zip(targets, found, strict=True))


STANDARD_FIELD_MM = (100.0, 100.0)


class _Tank:
    """A machine's dose in water, each tank computed once."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._standard: dict[tuple[float, bytes], Float] = {}
        self._edges: dict[tuple[tuple[float, float], float, float], tuple[float, float, float]] = {}

    def along(self, field: tuple[float, float], ssd: float, depths: Float) -> Float:
        key = (ssd, depths.tobytes())
        if field == STANDARD_FIELD_MM and key in self._standard:
            return self._standard[key]
        dose = water_dose(self._machine, field, ssd, depths, voxel_mm=DEPTH_VOXEL_MM)
        if field == STANDARD_FIELD_MM:
            self._standard[key] = dose
        return dose

    def depth_dose(self, field: tuple[float, float], ssd: float, depths: Float) -> Float:
        """Relative to the maximum; near the surface on thin voxels, at it by a line through the first two."""
        dose = self.along(field, ssd, np.concatenate([depths, MAXIMUM_DEPTHS_MM]))
        dose, maximum = dose[: len(depths)].copy(), dose[len(depths) :].max()
        near = depths < NEAR_SURFACE_MM
        if near.any():
            thin = SURFACE_VOXEL_MM[1]
            nodes = np.append(np.arange(0.5, NEAR_SURFACE_MM + 3.0) * thin, MAXIMUM_DEPTHS_MM)
            first = water_dose(self._machine, field, ssd, nodes, voxel_mm=SURFACE_VOXEL_MM)
            count = len(nodes) - len(MAXIMUM_DEPTHS_MM)
            surface = 1.5 * first[0] - 0.5 * first[1]
            shallow = np.interp(depths, np.append(0.0, nodes[:count]), np.append(surface, first[:count]))
            dose[near] = shallow[near] / first[count:].max() * maximum
        relative: Float = dose / maximum
        return relative

    def across(self, field: tuple[float, float], ssd: float, depths: Float, off: Float) -> Float:
        """Relative to the axis, one number for each depth and place."""
        levels, level = np.unique(depths, return_inverse=True)
        dose = water_dose(self._machine, field, ssd, levels, ("x", np.append(off, 0.0)), PROFILE_VOXEL_MM)
        relative: Float = dose[level, np.arange(len(off))] / dose[level, -1]
        return relative

    def edge(self, field: tuple[float, float], ssd: float, depth: float, kind: str) -> float:
        """Width of a field or of its penumbra along x."""
        spread = (ssd + depth) / self._machine.source_axis_distance_mm
        key = (field, ssd, depth)
        if key not in self._edges:
            off = np.arange(0.0, 0.5 * field[0] * spread + 30.0, 0.5)
            falling = self.across(field, ssd, np.full(len(off), depth), off)[::-1]
            x80, x50, x20 = (float(np.interp(level, falling, off[::-1])) for level in (0.8, 0.5, 0.2))
            self._edges[key] = x80, x50, x20
        x80, x50, x20 = self._edges[key]
        return x20 - x80 if kind == "penumbra" else 2 * x50 / spread


def _nobody(evaluations: int) -> None:
    """Tell nobody."""


def _later(tell: Callable[[int], None], before: int, evaluations: int) -> None:
    tell(before + evaluations)


def fit(
    facts: Facts,
    targets: Sequence[Target],
    free: Sequence[str],
    source: str,
    *,
    tell: Callable[[int], None] = _nobody,
) -> MachineFit:
    """Fit numbers of a machine to beam data by least squares.

    Differences are counted in the tolerance of their kind, times the root of their weight.

    Parameters
    ----------
    facts : dict
        Of the machine to start from.
    targets : sequence of Target
    free : sequence of str
        Names from `PARAMETERS`, and "profile" for the horns. Those on which no data act stay as they are.
    source : str
        What the targets are; becomes the source of each fitted number.
    tell : callable
        Called with the number of evaluations so far.

    Raises
    ------
    InputError
        When a name is unknown, the machine has no such number, or nothing is there to fit to.

    References
    ----------
    Broyden 1965, Math Comp 19:577, doi:10.1090/S0025-5718-1965-0198670-6.
    """
    known = (*PARAMETERS, PROFILE)
    unknown = [name for name in free if name not in known]
    if unknown:
        raise InputError(f"cannot fit {', '.join(unknown)}; free may be {', '.join(known)}")
    counted = tuple(target for target in targets if target.weight > 0)
    if not counted:
        raise InputError("the beam data have no number with a weight above 0 to fit to")
    kinds = {target.kind for target in counted}
    names = [name for name in free if name in PARAMETERS and kinds & set(PARAMETERS[name].kinds)]
    horns = PROFILE in free and PROFILE in kinds
    if not names and not horns:
        raise InputError(f"data of the kinds {', '.join(sorted(kinds))} say nothing of {', '.join(free)}")
    start: dict[str, Any] = {name: _number(facts, name) for name in names}
    found, evaluations, converged = facts, 0, True
    for lateral in (False, True):
        data = [target for target in counted if (target.kind in LATERAL) == lateral]
        own = [name for name in names if (PARAMETERS[name].kinds[0] in LATERAL) == lateral]
        if lateral and horns:
            start[PROFILE] = copy.deepcopy(facts[PROFILE]["value"])
            for _ in range(PROFILE_ROUNDS):
                found = _with_horns(found, residuals(machine_of_facts("trial", found, "the fit"), data), source, facts)
        if own:
            work = _Work(found, data, own, source, partial(_later, tell, evaluations))
            converged = work.converge() and converged
            evaluations += work.evaluations
            found = _with_numbers(found, own, [round(float(v), 5) for v in work.at], source, facts)
    fitted: dict[str, Any] = {name: _number(found, name) for name in names}
    if horns:
        fitted[PROFILE] = found[PROFILE]["value"]
    last = residuals(machine_of_facts("fitted", found, "the fit"), targets)
    return MachineFit(found, start, fitted, last, converged, evaluations)


class _Work:
    """State of a fit: numbers, their differences from the data, and the derivatives of these."""

    def __init__(
        self,
        facts: Facts,
        targets: Sequence[Target],
        names: Sequence[str],
        source: str,
        tell: Callable[[int], None],
    ) -> None:
        self.facts, self.targets, self.names, self.source = facts, targets, names, source
        self.tell, self.evaluations = tell, 0
        self.at = np.array([_number(facts, name) for name in names])
        self.steps = np.array([PARAMETERS[name].step for name in names])
        nominal = float(facts["energy_mv"]["value"])
        limits = [np.array(PARAMETERS[name].limits) * (nominal if name == "end_mev" else 1.0) for name in names]
        self.low, self.high = np.array(limits).reshape(-1, 2).T
        self.at = np.clip(self.at, self.low, self.high)

    def machine(self, at: Float) -> Machine:
        return machine_of_facts("trial", _with_numbers(self.facts, self.names, at, self.source), "the fit")

    def differences(self, at: Float, kinds: Sequence[str] = tuple(KINDS)) -> Float:
        """Weighted differences; 0 for data of other kinds."""
        self.evaluations += 1
        self.tell(self.evaluations)
        chosen = [n for n, target in enumerate(self.targets) if target.kind in kinds]
        out = np.zeros(len(self.targets))
        for n, found in zip(chosen, residuals(self.machine(at), [self.targets[n] for n in chosen]), strict=True):
            target = found.target
            out[n] = np.sqrt(target.weight) * found.difference / KINDS[target.kind].tolerance
        return out

    def converge(self) -> bool:
        """Step until the sum of squares falls no more; whether it did so within `MOST_STEPS`."""
        here = self.differences(self.at)
        slopes = np.zeros((len(here), len(self.names)))
        for n, name in enumerate(self.names):
            # Away from the nearer limit.
            step = self.steps[n] if self.at[n] + self.steps[n] <= self.high[n] else -self.steps[n]
            moved = self.at.copy()
            moved[n] += step
            kinds = PARAMETERS[name].kinds
            acted = np.array([target.kind in kinds for target in self.targets])
            slopes[:, n] = np.where(acted, (self.differences(moved, kinds) - here) / step, 0.0)
        # In units of the steps, so that the radius and a trace of damping mean the same for all.
        radius = FIRST_RADIUS
        for _ in range(MOST_STEPS):
            if float(here @ here) < NEGLIGIBLE**2 * len(here):
                return True
            scaled = slopes * self.steps
            damping = 0.01 * float(np.abs(scaled).max()) * np.eye(len(self.names))
            low = np.maximum((self.low - self.at) / self.steps, -radius)
            high = np.minimum((self.high - self.at) / self.steps, radius)
            wanted: Float = optimize.lsq_linear(
                np.vstack([scaled, damping]),
                np.append(-here, np.zeros(len(self.names))),
                bounds=(np.minimum(low, 0.0) - 1e-9, np.maximum(high, 0.0) + 1e-9),
            ).x
            there = self.differences(np.clip(self.at + wanted * self.steps, self.low, self.high))
            slopes += np.outer(there - here - scaled @ wanted, wanted / self.steps) / max(float(wanted @ wanted), 1e-12)
            fall = 1.0 - float(there @ there) / float(here @ here)
            if fall > 0:
                self.at, here = np.clip(self.at + wanted * self.steps, self.low, self.high), there
                radius *= 2.0
            else:
                radius = 0.4 * float(np.abs(wanted).max())
            if 0 <= fall < LEAST_FALL or radius < LEAST_RADIUS:
                return True
        return False


def _with_horns(facts: Facts, found: Sequence[Residual], source: str, first: Facts) -> Facts:
    """Multiply the horns by measured over computed, where profiles were measured well inside their field."""
    sad = float(facts["source_axis_distance_mm"]["value"])
    ratios: dict[float, list[float]] = defaultdict(list)
    for one in found:
        target = one.target
        radius = abs(target.off_axis_mm) * sad / (target.ssd_mm + target.depth_mm)
        if target.kind == PROFILE and radius < INSIDE_FIELD * 0.5 * target.field_mm[0]:
            ratios[round(radius, 1)].append(target.value / one.found)
    if not ratios:
        raise InputError("horns need profiles inside their field; found none to fit 'profile' to")
    at = sorted(ratios)
    old = np.array(facts[PROFILE]["value"], dtype=np.float64)
    radii = np.unique(np.concatenate([[0.0], at, old[old[:, 0] > at[-1], 0]]))
    factor = np.interp(radii, [0.0, *at], [1.0, *(float(np.mean(ratios[r])) for r in at)])
    values = np.interp(radii, old[:, 0], old[:, 1]) * factor
    changed = copy.deepcopy(facts)
    changed[PROFILE] = {
        "value": [[float(r), round(float(v), 5)] for r, v in zip(radii, values, strict=True)],
        "source": source,
        "mark": "F",
        "start": copy.deepcopy(first[PROFILE]["value"]),
    }
    return changed


def _number(facts: Facts, name: str) -> float:
    value: Any = facts
    for key in PARAMETERS[name].place:
        if key not in value:
            raise InputError(f"the machine has no number '{name}' to fit: its spectrum is not a form with filters")
        value = value[key]
    return float(value)


def _with_numbers(
    facts: Facts, names: Sequence[str], values: Sequence[float] | Float, source: str, first: Facts | None = None
) -> Facts:
    """Replace numbers; with the `first` facts these become the start that the file tells."""
    changed = copy.deepcopy(facts)
    for name, value in zip(names, values, strict=True):
        path = PARAMETERS[name].place
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = float(value)
        changed[path[0]].update(mark="F", source=source)
        if first is not None:
            changed[path[0]]["start"] = copy.deepcopy(first[path[0]]["value"])
    return changed


def from_start(facts: Facts) -> Facts:
    """Facts with each fitted number as it was before its fit, where the file tells it."""
    return {
        name: {**fact, "value": copy.deepcopy(fact["start"])} if isinstance(fact, dict) and "start" in fact else fact
        for name, fact in facts.items()
    }


# The packaged targets of each packaged machine that is fitted, and what is fitted to them.
PACKAGED = {
    "generic-6MV": (
        "flattened_6mv.csv",
        (
            "end_mev",
            "aluminium_g_cm2",
            "extrafocal_share",
            "extrafocal_sigma_mm",
            "contamination_cm2_g",
            "contamination_per_cm",
            "contamination_sigma_mm",
            "source_sigma_mm",
            "jaw_offset_mm",
        ),
    ),
    "generic-10MV-FFF": ("fff_10mv.csv", ("aluminium_g_cm2",)),
}


def packaged_targets(name: str) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Return the targets of a packaged machine, and the names of the numbers that are fitted to them.

    Raises
    ------
    InputError
        When there are none for this machine.
    """
    if name not in PACKAGED:
        raise InputError(
            f"machine '{name}' has no packaged targets; those of {', '.join(PACKAGED)} are known: give --data"
        )
    file, free = PACKAGED[name]
    text = resources.files("tailort.physics").joinpath(f"data/targets/{file}").read_text(encoding="utf-8")
    return read_targets(text, file), free


def free_numbers(facts: Facts) -> tuple[str, ...]:
    """Names of all numbers of a machine that can be fitted, the horns included."""
    form = "end_mev" in facts["spectrum"]["value"]
    return (*(name for name, one in PARAMETERS.items() if form or one.place[0] != "spectrum"), PROFILE)


def target_sets(targets: Sequence[Target], name: str) -> tuple[Target, ...]:
    """Targets without a set of their own get this one."""
    return tuple(target if target.set else replace(target, set=name) for target in targets)
