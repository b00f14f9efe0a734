"""Seconds of each stage of a job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Time of one stage of the work."""

    name: str
    wall_s: float
    cpu_s: float


class StageClock:
    """Times the stages of a job and tells their progress.

    Parameters
    ----------
    tell : callable
        Called with a stage's name and the share done, 0 to 1.
    """

    def __init__(self, tell: Callable[[str, float], None]) -> None:
        self._tell = tell
        self._stages: list[Stage] = []

    @property
    def progress(self) -> Callable[[str, float], None]:
        """What it was made with, for work that keeps a clock of its own."""
        return self._tell

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        """Time what happens inside; gives a function that tells the share done."""
        wall, cpu = time.perf_counter(), time.process_time()
        self._tell(name, 0.0)
        yield lambda share: self._tell(name, share)
        self._stages.append(Stage(name, time.perf_counter() - wall, time.process_time() - cpu))
        self._tell(name, 1.0)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that are done."""
        return tuple(self._stages)
