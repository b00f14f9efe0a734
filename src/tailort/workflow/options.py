"""What a person may choose about planning beyond the protocol."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.patient import FunctionalImage
from tailort.physics import DensityTable, Machine, density_table, machine
from tailort.protocols import Protocol
from tailort.protocols.schema import Technique

# For protocols that name none.
DEFAULT_MACHINE = "generic-6MV"
DOSE_GRID_MM = 3.0
# Of plans whose technique a person chose instead of the protocol's.
BEAMS, ARCS, ARC_COLLIMATOR_DEG = 9, 2, 10.0
FIELDS, APERTURE_MARGIN_MM, SUBFIELDS = "ap-pa-obliques", 7.0, 3
# Distance that fields keep from the organ that they avoid, the first one with a hard limit on its maximum, mm.
AVOID_MARGIN_MM = 5.0
# Each draw of the registrations is a limit more of each kind.
MOST_SCENARIOS = 100
# Longer ones are no set-up errors of a patient whose position is checked, but a slip of the pen or of the unit.
LONGEST_SETUP_ERROR_MM = 50.0


@dataclass(frozen=True)
class PlanningOptions:
    """What a person may choose about planning beyond the protocol.

    Parameters
    ----------
    dose_grid_mm : float or None
        Spacing of the dose grid; None is the protocol's or, when it names none, 3 mm.
    technique : str or None
        None is the protocol's.
    density_table : DensityTable or str
        From CT numbers to mass density: the table of the scanner, or the name of a packaged one.
    densities : tuple of (str, float)
        Structures whose density is given, g/cm3; where two overlap, the later one holds.
    machine : Machine or None
        None is the protocol's or, when it names none, `generic-6MV`.
    engine : str
        Of the influence and of the reported dose.
    setup_errors_mm : (3,) float or None
        By how much the patient may lie off along x, y, z (left-right, anterior-posterior, cranio-caudal), in which the
        final plan is judged; None judges it as planned only.
    setup_spread_mm : ((3,) float, (3,) float) or None
        Standard deviations of systematic and of random set-up errors along x, y, z, in place of `setup_errors_mm`: the
        final plan is judged by its worst and its expected values.
    robust : bool
        Whether the plan is also made for these set-up errors, in place of the targets' margins.
    compare_without_prior : bool
        Whether the plan is made once more as if there were no earlier courses, to see what they cost.
    registration_scenarios : int
        Draws of the earlier courses' registrations in which hard limits over all courses hold too; 0 plans with the
        earlier doses as registered only.
    readings : mapping of str to str
        Readings of ambiguous rules to take in place of the protocol's defaults, by rule.
    option : str or None
        Other doses of the patient's plan, where the protocol offers some, by the id of the option.
    today : date or None
        The day that conditions see as the fact `today`; None leaves it unknown.
    images : mapping of str to FunctionalImage
        Of function, by the name of the quantity, in the frame of reference of the planning CT: what protocols paint by.
    starts : mapping of str to (beamlets,) float
        Fluence of an interrupted run by the label of the phase's plan, MU per fraction: where the search goes on.
    """

    dose_grid_mm: float | None = None
    technique: str | None = None
    density_table: DensityTable | str = "schneider2000"
    densities: tuple[tuple[str, float], ...] = ()
    machine: Machine | None = None
    engine: str = "collapsed-cone"
    setup_errors_mm: tuple[float, float, float] | None = None
    setup_spread_mm: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    robust: bool = False
    compare_without_prior: bool = False
    registration_scenarios: int = 0
    readings: Mapping[str, str] = field(default_factory=dict)
    option: str | None = None
    today: dt.date | None = None
    images: Mapping[str, FunctionalImage] = field(default_factory=dict, compare=False)
    starts: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.registration_scenarios <= MOST_SCENARIOS:
            raise InputError(
                f"registrations can be drawn up to {MOST_SCENARIOS} times for a plan; found "
                f"{self.registration_scenarios}"
            )
        if self.setup_errors_mm is not None:
            object.__setattr__(self, "setup_errors_mm", setup_errors(self.setup_errors_mm))
        elif self.robust:
            raise InputError("a robust plan needs to know against what: give --setup-errors LR,AP,CC in mm")

    def techniques_of(self, protocol: Protocol) -> tuple[tuple[Technique, ...], tuple[str, ...]]:
        """Techniques in the order in which they are tried, and what must be said of them."""
        asked = protocol.technique
        fine: dict[str, Any] = {
            "beamlet_mm": asked.beamlet_mm,
            "hottest_percent": asked.hottest_percent,
            "goals": asked.goals,
        }
        kept: dict[str, Any] = {"machine": asked.machine, "dose_grid_mm": asked.dose_grid_mm}
        if self.technique is None or self.technique == asked.kind:
            return protocol.techniques(), ()
        if self.technique == "vmat":
            own = Technique(kind="vmat", arcs=ARCS, collimator_deg=ARC_COLLIMATOR_DEG, **fine, **kept)
            how = f"{ARCS} full arcs"
        elif self.technique == "3dcrt":
            serial = [c.structure for c in protocol.constraints() if c.priority == "hard" and c.metric == "Max[Gy]"]
            own = Technique(
                kind="3dcrt", arrangement=FIELDS, aperture_margin_mm=APERTURE_MARGIN_MM, subfields=SUBFIELDS,
                avoid=serial[0] if serial else None, avoid_margin_mm=AVOID_MARGIN_MM if serial else None, **kept,
            )  # fmt: skip
            how = f"{FIELDS}, {APERTURE_MARGIN_MM:g} mm from target to field edge, up to {SUBFIELDS} subfields"
        elif self.technique == "imrt":
            own = Technique(kind="imrt", beams=BEAMS, **fine, **kept)
            how = f"{BEAMS} beams, step and shoot"
        else:
            raise InputError(f"unknown technique '{self.technique}'; known are imrt, vmat and 3dcrt")
        note = (
            f"protocol '{protocol.id}' asks for {asked.kind}; planned as {self.technique} ({how}) because "
            "--technique says so"
        )
        return (own,), (note,)

    def spacing_mm(self, techniques: Sequence[Technique]) -> float:
        """Spacing of the dose grid: a person's, else the finest that a technique asks for, else 3 mm."""
        if self.dose_grid_mm is not None:
            return self.dose_grid_mm
        return min((t.dose_grid_mm for t in techniques if t.dose_grid_mm is not None), default=DOSE_GRID_MM)

    def machine_of(self, protocol: Protocol) -> Machine:
        """The linac."""
        named = protocol.technique.machine
        if self.machine is None:
            return machine(named or DEFAULT_MACHINE)
        if named is not None and named != self.machine.id:
            raise InputError(f"protocol '{protocol.id}' asks for machine {named}, --machine {self.machine.id}")
        return self.machine

    @property
    def about_table(self) -> str:
        """The density table in words."""
        chosen = self.density_table
        table = density_table(chosen) if isinstance(chosen, str) else chosen
        return f"{table.name}: {table.label}"


def setup_errors(values_mm: Sequence[float]) -> tuple[float, float, float]:
    """Set-up errors as they may be asked for: left-right, anterior-posterior, cranio-caudal, mm.

    Parameters
    ----------
    values_mm : sequence of float
        Three lengths; along an axis with 0 the patient is not shifted.

    Raises
    ------
    InputError
        Unless they are three finite numbers, none below 0 or above `LONGEST_SETUP_ERROR_MM`, and one above 0.
    """
    found = tuple(float(value) for value in values_mm)
    told = ", ".join(f"{value:g}" for value in found) or "nothing"
    if len(found) != 3 or not all(math.isfinite(value) for value in found):
        raise InputError(
            "set-up errors are three finite lengths in mm, left-right, anterior-posterior and cranio-caudal; found "
            f"{told}"
        )
    if min(found) < 0 or max(found) > LONGEST_SETUP_ERROR_MM:
        raise InputError(f"set-up errors are lengths from 0 to {LONGEST_SETUP_ERROR_MM:g} mm; found {told}")
    if not any(found):
        raise InputError("set-up errors of 0 mm along all axes leave only the planned position; give their size")
    x, y, z = found
    return x, y, z
