"""What a site changed in a protocol, and what a protocol proposes for one person, as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from tailort.protocols.overlay_records import Overlay
    from tailort.protocols.proposals import Individual, Proposals


def show_overlays(console: Console, overlays: Sequence[Overlay]) -> None:
    """Print what sites changed, hard limits that are looser first."""
    for overlay in overlays:
        for warning in overlay.warnings:
            console.print(f"! {warning}", style="bold red", soft_wrap=True, highlight=False)
    for overlay in overlays:
        day = f" on {overlay.date}" if overlay.date else ""
        _line(
            console,
            f"{overlay.extends} {overlay.extends_version}, changed by {overlay.id} {overlay.version}: "
            f"{overlay.changed_by}{day}, because: {overlay.why}",
        )
        for change in overlay.changes:
            own = f"; {change.why}" if change.why != overlay.why else ""
            _line(console, f"  {change.told}{own}")


def show_proposals(console: Console, told: Proposals, everything: bool) -> None:
    """Print modifiers that propose something and triggers that fire, then what waits for facts.

    Parameters
    ----------
    console : Console
        Without markup.
    told : Proposals
        Of one patient.
    everything : bool
        Also those that do not apply.
    """
    beside = f", held against {told.beside}" if told.beside else ""
    for title, entries in (("proposed" + beside, told.modifiers), ("triggers that fire", told.triggers)):
        if not entries:
            continue
        console.print()
        console.print(title, style="bold", soft_wrap=True, highlight=False)
        applying = [one for one in entries if one.answer == "yes"]
        if not applying:
            _line(console, "  none")
        for one in applying:
            for line in _entry(one):
                _line(console, line)
        open_ = [one for one in entries if one.answer == "unknown"]
        if open_:
            _line(console, f"  not known of {len(open_)} of {len(entries)}:")
        for one in open_:
            _line(console, f"    {one.entry.id}: without {', '.join(one.missing)}")
        for one in entries:
            if everything and one.answer == "no":
                _line(console, f"  {one.entry.id} does not apply: {one.reason}")
    console.print()
    _line(console, "Nothing of this is applied: a person decides. No proposal loosens a limit.")


def _entry(one: Individual) -> Iterator[str]:
    entry = one.entry
    yield f"  {entry.id}: {entry.text}"
    yield f"    because {one.reason} [{', '.join(entry.rules)}]"
    guidance = "" if entry.guidance == "none" else f"; {entry.guidance} guidance"
    yield f"    evidence: {entry.evidence.told}{guidance}"
    for proposed in one.proposed:
        rules = f" [{', '.join(proposed.rules)}]" if proposed.rules else ""
        standing = "" if proposed.standing == "as proposed" else f" ({proposed.standing.upper()})"
        yield f"    -> {proposed.text}{standing}{rules}{f': {proposed.note}' if proposed.note else ''}"


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False)
