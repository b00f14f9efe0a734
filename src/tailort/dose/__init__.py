"""Dose engines, by name.

An engine is a pair of functions with the signatures of `tailort.dose.pencil.compute` (the dose of a deliverable plan)
and `tailort.dose.pencil.influence` (the dose of each beamlet), and a label that reports print beside its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tailort.dose import collapsed_cone, collapsed_cone_gpu, cone_influence, pencil
from tailort.errors import InputError
from tailort.patient.dose import Dose
from tailort.patient.influence import Influence


@dataclass(frozen=True)
class Engine:
    """A way to compute dose.

    Parameters
    ----------
    name : str
        As doses carry it.
    label : str
        What must be known to judge by it.
    compute : callable
        (plan, density, machine, grid, *, body=None, progress=None) -> Dose, Gy per fraction, physical.
    influence : callable
        (density, beamlets, machine, grid, voxels, *, position, near_mm=25, progress=None) -> Influence.
    saves_far : bool
        Whether both take `detailed_mm`, the box outside of which wider voxels than those of a fine grid will do.
    """

    name: str
    label: str
    compute: Callable[..., Dose]
    influence: Callable[..., Influence]
    saves_far: bool = False


ENGINES = {
    pencil.NAME: Engine(pencil.NAME, pencil.LABEL, pencil.compute, pencil.influence),
    **{
        name: Engine(
            name,
            collapsed_cone.LABELS[to],
            partial(collapsed_cone.compute, dose_to=to),
            partial(cone_influence.influence, dose_to=to),
            saves_far=True,
        )
        for to, name in collapsed_cone.NAMES.items()
    },
    # The doses on a graphics card; beamlets are computed as without.
    **{
        name: Engine(
            name,
            collapsed_cone_gpu.LABELS[to],
            partial(collapsed_cone_gpu.compute, dose_to=to),
            partial(cone_influence.influence, dose_to=to),
        )
        for to, name in collapsed_cone_gpu.NAMES.items()
    },
}

# What plans are judged, reported and exported by; every other engine is a quick look.
REPORTING_ENGINES = frozenset((*collapsed_cone.NAMES.values(), *collapsed_cone_gpu.NAMES.values()))


def engine(name: str) -> Engine:
    """Return the dose engine of this name.

    Raises
    ------
    InputError
        When there is none; the known ones are listed.
    """
    if name not in ENGINES:
        raise InputError(f"unknown dose engine '{name}'; known are {', '.join(sorted(ENGINES))}")
    return ENGINES[name]


__all__ = ["ENGINES", "REPORTING_ENGINES", "Engine", "engine"]
