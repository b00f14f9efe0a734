"""Images of function that a person names for a plan: "fdg-suv=PET" is a quantity and a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tailort.cli.progress import Interrupt
from tailort.dicom.reading_functional import read_functional
from tailort.errors import InputError
from tailort.patient import Case, FunctionalImage, quantity_named
from tailort.workflow.clock import StageClock
from tailort.workflow.functional import Reading, functional_image


def folders_of_text(asked: Sequence[str]) -> dict[str, Path]:
    """Folder of each quantity.

    Raises
    ------
    InputError
        For a text without both parts, an unknown quantity, and one that is named twice.
    """
    found: dict[str, Path] = {}
    for text in asked:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise InputError(f"--image expects QUANTITY=DIR, such as fdg-suv=PET; found '{text}'")
        quantity = quantity_named(name)
        if quantity.id in found:
            raise InputError(f"--image names {quantity.id} twice: {found[quantity.id]} and {folder}")
        found[quantity.id] = Path(folder)
    return found


def read_images(
    case: Case,
    folders: Mapping[str, Path],
    clock: StageClock,
    interrupt: Interrupt | None,
    *,
    insist: bool,
    same_patient: bool,
) -> dict[str, FunctionalImage]:
    """Read images of function and bring them onto the planning CT; see `functional_image` for what is refused."""
    reading = Reading(insist=insist, same_patient=same_patient)
    stop = interrupt.asked if interrupt else lambda: False
    made = {}
    for name, folder in folders.items():
        with clock.stage(f"read {name}") as tell:
            scan = read_functional(
                folder, quantity_named(name), frame_of_reference=case.ct.image.grid.frame_of_reference,
                progress=lambda _, share: tell(share),
            )  # fmt: skip
        made[name] = functional_image(case, scan, clock, reading, stop=stop)
    return made
