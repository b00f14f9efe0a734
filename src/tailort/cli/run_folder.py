"""An output folder that is written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tailort.errors import OutputError, StoppedError

# What says that a folder was made here, and so may be replaced by --overwrite.
MARKERS = ("run.json", "truth.json")


@contextmanager
def whole_folder(out: Path, *, overwrite: bool, inputs: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Give a staging folder beside `out` that takes its place when the block ends without an error.

    Parameters
    ----------
    out : Path
        The folder to make.
    overwrite : bool
        Whether an earlier run in `out` may be replaced.
    inputs : tuple of Path
        Files and folders that are read: `out` must not hold or be one of them.

    Raises
    ------
    OutputError
        When `out` is filled and may not be replaced, cannot be written, or the disk is full.
    """
    out = out.absolute()
    _check(out, overwrite, inputs)
    made = [folder for folder in out.parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        _remove_empty(made)
        raise OutputError(
            f"cannot write to '{out.parent}': {error.strerror}; choose another folder with --out"
        ) from error
    try:
        yield staging
        staging.chmod(0o777 & ~_umask())
        with _undisturbed():
            _take_place(staging, out)
    except KeyboardInterrupt as error:
        raise StoppedError(f"interrupted before there was a result, so nothing was left in '{out}'") from error
    except (OSError, OutputError) as error:
        reason = error.__cause__ if isinstance(error, OutputError) else error
        if isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"the disk of '{out.parent}' is full, nothing was kept; free some room or choose another --out"
            ) from error
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"cannot write '{out}': {error.strerror or error}; choose another folder with --out"
        ) from error
    finally:
        with _undisturbed():
            shutil.rmtree(staging, ignore_errors=True)
            _remove_empty(made)


def _check(out: Path, overwrite: bool, inputs: tuple[Path, ...]) -> None:
    resolved = out.resolve()
    for folder in inputs:
        source = folder.resolve()
        if resolved == source or resolved in source.parents:
            raise OutputError(f"the output folder '{out}' holds the input '{folder}'; choose another folder with --out")
        if source in resolved.parents:
            raise OutputError(
                f"the output folder '{out}' lies in the input '{folder}', where the next run would read it as input; "
                "choose another folder with --out"
            )
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise OutputError(f"'{out}' is not a folder; choose another one with --out")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise OutputError(
                f"the output folder '{out}' is not empty; choose another one with --out, or add --overwrite"
            )
        if not any((out / name).is_file() for name in MARKERS):
            raise OutputError(
                f"the output folder '{out}' holds files but no earlier result of TailoRT, so --overwrite leaves "
                "it alone; choose another folder with --out"
            )


def _take_place(staging: Path, out: Path) -> None:
    """Rename the staging folder to its name; an earlier run is kept until the new one is in place."""
    if not out.exists():
        staging.rename(out)
        return
    old = staging.with_suffix(".old")
    out.rename(old)
    try:
        staging.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no Ctrl-C fall between the steps of putting a folder in place or of tidying up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, the innermost first, as far as they are there and empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
