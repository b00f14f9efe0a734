"""Progress of long work, on stderr and only on a terminal; and a Ctrl-C that loses nothing."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


class Progress:
    """Shows one line a stage with its share done. Silent when stderr is not a terminal."""

    def __init__(self, enabled: bool | None = None) -> None:
        self._on = sys.stderr.isatty() if enabled is None else enabled
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        if self._on:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            self._bar = Bars(
                TextColumn("{task.description:<34}"),
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, stage: str, share: float) -> None:
        """Say that `share` (0 to 1) of `stage` is done."""
        if self._bar is None:
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(stage, total=1.0)
        self._bar.update(self._tasks[stage], completed=min(max(share, 0.0), 1.0))


class Interrupt:
    """Whether the person asked to stop.

    Until something worth keeping exists, Ctrl-C ends the work at once. After `keep()` the first Ctrl-C only asks:
    `asked()` turns true, the work ends early and writes what it has; a second one ends it at once.
    """

    def __init__(self) -> None:
        self._asked = False
        self._keeping = False

    def keep(self) -> None:
        """Say that there is now a result worth writing."""
        self._keeping = True

    def asked(self) -> bool:
        """Whether Ctrl-C was pressed after `keep`."""
        return self._asked

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take SIGINT or SIGTERM."""
        if self._keeping and not self._asked:
            self._asked = True
            print("tailort: stopping, and writing the plan there is; Ctrl-C again ends at once", file=sys.stderr)
        else:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Take Ctrl-C (and a polite kill) while inside; the handlers of before are put back."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.signal(number, interrupt.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
