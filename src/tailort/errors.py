"""The tree of errors. Each carries one sentence: what was found, what was expected, where, what to do.

TailortError
    InputError                 bad input or usage                               (exit status 2)
        GeometryError          grids, frames of reference or contours that cannot be used together
        DicomError             files that cannot be read as the case they claim to be
        ProtocolError          a protocol file that is not valid
        MissingStructureError  a structure that the work needs is not in the case
        OutputError            a folder or file that cannot be written
    UndecidedError             facts are missing, so the protocol cannot decide (exit status 4)
    NotEligibleError           the protocol stops here                          (exit status 5)
    StoppedError               a person stopped the work before it had a result (exit status 130)
"""

from __future__ import annotations

from collections.abc import Sequence


class TailortError(Exception):
    """Any error that TailoRT raises on purpose; its text is one sentence for a person."""

    exit_status = 2


class InputError(TailortError):
    """Bad input or usage."""


class GeometryError(InputError):
    """Grids, frames of reference or contours that cannot be used together."""


class DicomError(InputError):
    """Files that cannot be read as the case they claim to be."""


class ProtocolError(InputError):
    """A protocol file that is not valid."""


class MissingStructureError(InputError):
    """A structure that the work needs is not in the case."""


class OutputError(InputError):
    """A folder or file that cannot be written."""


class UndecidedError(TailortError):
    """Facts are missing, so the protocol cannot decide."""

    exit_status = 4

    def __init__(self, message: str, missing: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class StoppedError(TailortError):
    """A person stopped the work before there was a result worth keeping."""

    exit_status = 130


class NotEligibleError(TailortError):
    """The protocol does not admit this patient."""

    exit_status = 5
