"""`tailort motion`: a 4D-CT as average, MIP, minimum and internal volumes. Heavy imports wait for the command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailort.cli.options import OUT, Json, Names, Out, Overwrite

if TYPE_CHECKING:
    from tailort.workflow.motion import Motion


def motion(
    dicom_dir: Annotated[Path, typer.Argument(help="Folder with the phases of a 4D-CT and their RTSTRUCTs.")],
    structure: Annotated[
        list[str] | None,
        typer.Option("--structure", metavar="NAME", help="Drawn on the phases; its union is made; several times."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the union (default: IGTVp of GTVp).")] = None,
    names: Names = None,
    out: Out = OUT,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write average, highest and lowest CT of the phases, and the union of drawn volumes over them."""
    from tailort.cli.app import _on_stdout, _print_json, _show_notes
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress:
        result, notes = motion_of_folder(
            dicom_dir, tuple(structure or ()), name=name, names=names, out=out, overwrite=overwrite, progress=progress
        )
    with _on_stdout():
        if as_json:
            _print_json({"out": str(out), **result.as_dict(), "notes": list(notes)})
            return
        print(f"{len(result.phases)} phases ({', '.join(result.phases)}): average, mip and minimum in {out}")
        for made in result.as_dict()["internal"]:
            reach = ", ".join(f"{way} {mm:.1f} mm" for way, mm in made["excursion_mm"].items())
            print(f"{made['name']}: {made['volume_cm3']:.2f} cm3; the middle of {made['of']} moves {reach}")
        _show_notes(notes)


def motion_of_folder(
    dicom_dir: Path,
    structures: Sequence[str] = (),
    *,
    name: str | None = None,
    names: Path | None = None,
    out: Path = Path("tailort-out"),
    overwrite: bool = False,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> tuple[Motion, tuple[str, ...]]:
    """Put the phases of a 4D-CT together; write average/, mip/, minimum/, rtstruct.dcm, motion.json and run.json.

    Parameters
    ----------
    dicom_dir : Path
        Folder with the phases.
    structures : sequence of str
        Whose union over the phases is made; it is drawn on the average.
    name, names, out, overwrite, progress
        As in `workflow.motion.motion_of` and `commands.plan`.

    Returns
    -------
    Motion, tuple of str
        And what was noticed.

    Raises
    ------
    InputError, DicomError
        See the exit statuses in docs/commands.md.
    """
    from tailort import dicom
    from tailort.cli.run_files import hash_inputs, write_json
    from tailort.cli.run_folder import whole_folder
    from tailort.cli.versions import run_versions
    from tailort.dicom.reading_phases import read_phases
    from tailort.dicom.writing_motion import write_motion
    from tailort.workflow.clock import StageClock
    from tailort.workflow.motion import motion_of

    clock = StageClock(progress)
    options = {"structures": list(structures), "name": name, "names": names.name if names else None}
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir,)) as staging:
        told = dicom.load_names(names) if names else None
        with clock.stage("read the phases") as tell:
            read = read_phases(dicom_dir, names=told, progress=lambda _, share: tell(share))
        with clock.stage("put together"):
            result = motion_of([(p.name, p.scan, p.structures) for p in read.phases], structures, name)
        with clock.stage("write"):
            write_motion(result.images, result.internal, read.phases[0].scan, read.person, staging)
        notes = (*read.notes, *result.notes)
        write_json(staging / "motion.json", result.as_dict())
        write_json(
            staging / "run.json",
            {**run_versions(), "options": options, "inputs_sha256": hash_inputs(dicom_dir), "notes": list(notes)},
        )
    return result, notes
