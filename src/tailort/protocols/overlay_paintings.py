"""What a site's overlay does to a prescription: a dose painted by an image in place of one for the whole target."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from tailort.protocols.overlay_file import PaintingChange
from tailort.protocols.overlay_records import Change, OverlayError, Place
from tailort.protocols.painting import painting_in_words
from tailort.protocols.schema import DosePerFraction, PrescriptionEntry, ProtocolFile


def painted_target(file: ProtocolFile, change: PaintingChange, place: Place, site: str) -> tuple[ProtocolFile, Change]:
    """Return a file in which one target's dose is painted, and what was changed.

    Limits in percent of the target's dose are now in percent of its least; what the file says about its dose per
    fraction goes.
    """
    own = [entry for entry in file.prescriptions if entry.target.lower() == change.target.lower()]
    if len(own) != 1:
        have = ", ".join(entry.target for entry in file.prescriptions) or "no target outside its plans"
        raise OverlayError(
            (*place, "target"), f"'{file.id}' prescribes to '{change.target}' {len(own)} times, not once: {have}"
        )
    (was,) = own
    if was.dose_gy != change.was:
        raise OverlayError((*place, "was"), f"the dose is {was.dose_gy:g} Gy, not {change.was:g}")
    if was.painted is not None:
        raise OverlayError((*place, "target"), f"'{was.target}' is painted already")
    known = {rule.id for rule in file.rules}
    try:
        now = PrescriptionEntry(
            target=was.target, dose_gy=change.dose_gy, fractions=was.fractions, phase=was.phase,
            painted=change.painted, rules=(*was.rules, *change.painted.rules, site),
        )  # fmt: skip
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise OverlayError(place, fault) from error
    file = file.model_copy(
        update={
            "prescriptions": tuple(now if entry is was else entry for entry in file.prescriptions),
            "checks": tuple(
                check
                for check in file.checks
                if not (isinstance(check, DosePerFraction) and check.target.lower() == was.target.lower())
            ),
            "rules": (*file.rules, *(rule for rule in change.new_rules if rule.id not in known)),
        }
    )
    told = Change(
        f"dose of {was.target} in {was.fractions} fractions", f"{was.dose_gy:g} Gy everywhere",
        f"{painting_in_words(now.dose_gy, change.painted)}, named {change.renamed}, signed by {change.signed_by}, with "
        "a plan of the same mean dose everywhere beside it",
        loosens="requirement" if now.dose_gy < was.dose_gy else "", rules=was.rules,
    )  # fmt: skip
    tree = _renamed(file.model_dump(by_alias=True, exclude_unset=True), was.target, change.renamed)
    return ProtocolFile.model_validate(tree), told


def _renamed(tree: Any, name: str, new: str) -> Any:
    """The same file with another name of a structure; texts that only mention it stay."""
    if isinstance(tree, dict):
        return {key: _renamed(value, name, new) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_renamed(value, name, new) for value in tree)
    return new if isinstance(tree, str) and tree.lower() == name.lower() else tree
