"""What the commands of designs share: trials to simulate, and how a design is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailort.cohort.designs import Sides, VirtualTrial, enrolled, simulate

Rows = list[tuple[str, str]]
Told = tuple[dict[str, Any], Rows]
Tell = Callable[[str, float], None]


def _silent(stage: str, share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Simulation:
    """Trials to simulate of a design.

    Parameters
    ----------
    trials : int or None
        How many; None simulates none.
    seed : int
        Of the random numbers.
    progress : callable
        Told what is simulated and the share done.
    """

    trials: int | None = None
    seed: int = 0
    progress: Tell = _silent

    def run(
        self, trial: Callable[[float], VirtualTrial], assumed: float, null: float, name: str = "simulated",
        note: str = "",
    ) -> Told:  # fmt: skip
        """Simulate power and level of a design; nothing where no trials are asked for.

        Parameters
        ----------
        trial : callable
            Of what is drawn: the trial.
        assumed, null : float
            What is drawn for the power and for the level.
        name, note : str
            Before and after the answer.
        """
        if self.trials is None:
            return {}, []
        # Two streams of one seed: the power does not depend on whether the level is drawn.
        streams = np.random.default_rng(self.seed).spawn(2)
        drawn = trial(assumed), trial(null)
        power = simulate(drawn[0], self.trials, streams[0], lambda share: self.progress(f"{name}: power", share))
        level = simulate(drawn[1], self.trials, streams[1], lambda share: self.progress(f"{name}: level", share))
        told: dict[str, Any] = {"trials": self.trials, "seed": self.seed, "patients": drawn[0].patients, "note": note}
        for what, found in (("power", power), ("alpha", level)):
            told |= {what: found.share, f"{what}_standard_error": found.standard_error}
        text = (
            f"{self.trials} trials of {drawn[0].patients} patients, seed {self.seed}: power {power.share:.4f} "
            f"(standard error {power.standard_error:.4f}), true alpha {level.share:.4f} ({level.standard_error:.4f})"
        )
        return {"simulated": told}, [(name, f"{text}; {note}" if note else text)]


NO_SIMULATION = Simulation()


def joined(told: dict[str, Any], rows: Rows, more: Told) -> Told:
    """Append what was simulated."""
    return told | more[0], rows + more[1]


def with_losses(patients: int, lost: float | None, rows: Rows) -> dict[str, Any]:
    """Patients to enrol, and a line on it; nothing where no losses are told."""
    if lost is None:
        return {}
    number = enrolled(patients, lost)
    rows.append(("enrolled", f"{number}, of whom {percent(lost)} are lost"))
    return {"losses": lost, "enrolled": number}


def sided(sides: Sides) -> str:
    """Where alpha lies."""
    return "two-sided, alpha/2 in each tail" if sides == 2 else "one-sided, all of alpha towards what is assumed"


def asked(null: float, assumed: float, alpha: float, power: float | None) -> str:
    """What a design of one arm was asked for."""
    text = f"null {null:g}, assumed {assumed:g}, alpha {alpha:g}"
    return text if power is None else f"{text}, power {power:g}"


def percent(share: float) -> str:
    """Share in %."""
    return f"{100 * share:g} %"
