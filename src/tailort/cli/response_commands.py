"""`tailort response`: the uptake of a structure over weeks. Heavy imports wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailort.cli.options import (
    OUT,
    InsistOnImages,
    Json,
    Names,
    Out,
    Overwrite,
    PlanningDir,
    PlanningSeries,
    Record,
    Reference,
    Region,
    SamePatient,
    SessionBends,
)
from tailort.cli.subvolume_commands import _reference
from tailort.errors import InputError

if TYPE_CHECKING:
    from tailort.patient import FunctionalScan, Quantity
    from tailort.workflow.clock import StageClock
    from tailort.workflow.responding import Response

# Whose triggers are asked where nobody names others.
TRIGGERS = "individualised"


def response(
    dicom_dir: PlanningDir,
    image: Annotated[
        list[Path],
        typer.Option("--image", metavar="DIR", help="Folder with one PET, and the CT of its session; twice or more."),
    ],
    structure: Annotated[str, typer.Option("--structure", metavar="NAME", help="Whose uptake is followed.")],
    quantity: Annotated[
        str, typer.Option("--quantity", help="fdg-suv, flt-suv, fmiso-tumour-to-blood, cu-atsm-tumour-to-muscle.")
    ] = "fdg-suv",
    threshold: Annotated[
        str, typer.Option("--threshold", metavar="NAME=N", help="Of the volume: relative=50, absolute=2.5.")
    ] = "relative=50",
    reference: Reference = None,
    protocol: Annotated[str, typer.Option("--protocol", help="Protocol whose triggers are asked.")] = TRIGGERS,
    deformable: SessionBends = False,
    region: Region = None,
    insist: InsistOnImages = False,
    same_patient: SamePatient = False,
    series: PlanningSeries = None,
    image_series: Annotated[
        list[str] | None,
        typer.Option("--image-series", help="UID of the PET, where a folder has several; one for every --image."),
    ] = None,
    names: Names = None,
    record: Record = None,
    out: Out = OUT,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Follow the uptake of a structure over PETs of several days, and ask what triggers say. Never an order."""
    from tailort.cli.app import _tell
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress:
        result = response_of(
            dicom_dir, tuple(image), structure, quantity=quantity, threshold=threshold, reference=reference,
            protocol=protocol, deformable=deformable, region=region, insist=insist, same_patient=same_patient,
            series=series, image_series=tuple(image_series or ()), names=names, record=record, out=out,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
    _tell(result, out, as_json, _show)


def response_of(
    dicom_dir: Path,
    images: tuple[Path, ...],
    structure: str,
    *,
    quantity: str = "fdg-suv",
    threshold: str = "relative=50",
    reference: str | None = None,
    protocol: str = TRIGGERS,
    deformable: bool = False,
    region: str | None = None,
    insist: bool = False,
    same_patient: bool = False,
    series: str | None = None,
    image_series: tuple[str, ...] = (),
    names: Path | None = None,
    record: Path | None = None,
    out: Path = Path("tailort-out"),
    overwrite: bool = False,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Response:
    """Follow the uptake of a structure; write response.json, report.html and run.json.

    Parameters
    ----------
    dicom_dir : Path
        Folder with the planning CT and the structure.
    images : tuple of Path
        Folders with one PET each, in any order.
    structure : str
        Whose uptake is followed.
    quantity, reference
        As in `subvolume_of`.
    threshold : str
        Of the volume: "relative=N" or "absolute=N".
    protocol : str
        Whose triggers are asked.
    deformable, region, insist, same_patient
        As in `subvolume_of`.
    image_series : tuple of str
        UID of the PET of each folder; empty where every folder has one.
    series, names, record, out, overwrite, progress
        As in `commands.plan`.

    Raises
    ------
    InputError, DicomError
        See the exit statuses in docs/commands.md.
    """
    from tailort import dicom
    from tailort.cli.commands import facts_of
    from tailort.cli.run_files import hash_inputs
    from tailort.cli.run_folder import whole_folder
    from tailort.cli.write_response import write_response
    from tailort.patient import RegistrationOptions, quantity_named
    from tailort.protocols import load
    from tailort.targets.uptake_methods import chosen_method
    from tailort.workflow.clock import StageClock
    from tailort.workflow.functional import Reading
    from tailort.workflow.responding import require_triggers, respond
    from tailort.workflow.response import require_series

    wanted, chosen, asked = quantity_named(quantity), chosen_method(threshold), load(protocol)
    require_series([wanted] * len(images), chosen)
    require_triggers(asked)
    if image_series and len(image_series) != len(images):
        raise InputError(
            f"--image-series names {len(image_series)} series for {len(images)} folders; give one for each, or none"
        )
    reading = Reading(
        _reference(reference), RegistrationOptions("deformable" if deformable else "rigid", region), insist,
        same_patient, during_treatment=True,
    )  # fmt: skip
    clock = StageClock(progress)
    described = {
        "images": [folder.name for folder in images], "structure": structure, "quantity": wanted.id,
        "threshold": str(chosen), "reference": reference, "protocol": protocol, "deformable": deformable,
        "region": region, "insist": insist, "same_patient": same_patient, "series": series,
        "image_series": list(image_series), "names": names.name if names else None,
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir, *images)) as staging:
        told = dicom.load_names(names) if names else None
        with clock.stage("read the case") as tell:
            case = dicom.read_case(dicom_dir, series_uid=series, names=told, progress=lambda _, share: tell(share))
            case = case.with_facts(facts_of(dicom_dir, record))
        frame = case.ct.image.grid.frame_of_reference
        scans = [
            _read(folder, wanted, uid, frame, clock, n)
            for n, (folder, uid) in enumerate(zip(images, image_series or (None,) * len(images), strict=True), 1)
        ]
        result = respond(case, scans, structure, chosen, asked, clock, reading)
        with clock.stage("write and report"):
            hashes = hash_inputs(dicom_dir)
            for n, folder in enumerate(images, 1):
                # Folders of different weeks may have the same name.
                own = hash_inputs(folder)
                hashes |= {f"image {n}, {folder.name}/{name}": value for name, value in own.items()}
            write_response(result, staging, described, hashes, clock)
    return result


def _read(
    folder: Path, quantity: Quantity, series_uid: str | None, frame: str, clock: StageClock, number: int
) -> FunctionalScan:
    """Read one scan of the series."""
    from tailort import dicom

    with clock.stage(f"read scan {number}") as tell:
        return dicom.read_functional(
            folder, quantity, series_uid=series_uid, frame_of_reference=frame, progress=lambda _, share: tell(share)
        )


def _show(result: Response) -> None:
    """Print the series and what triggers say."""
    from tailort.protocols.condition import FIRED
    from tailort.workflow.responding import told

    series = result.series
    unit = "" if series.quantity.unit == "1" else f" {series.quantity.unit}"
    print(f"{series.structure}, {series.quantity.text}; volume by {series.threshold}")
    for scan in series.scans:
        day = "day unknown" if scan.day is None else f"day {scan.day}"
        change = scan.change_percent["maximum"]
        against = "" if scan is series.scans[0] or change is None else f" ({change:+.0f} %)"
        within = ", no more than what repeats" if scan.repeats else ""
        peak = "unknown" if scan.uptake.peak is None else f"{scan.uptake.peak:.2f}"
        print(
            f"{scan.image.date}, {day}: maximum {scan.uptake.maximum:.2f}{unit}{against}{within}, peak {peak}, mean "
            f"{scan.uptake.mean:.2f}, volume {scan.uptake.volume_cm3:.1f} cm3, total {scan.uptake.total:.1f}"
        )
    for fact in result.facts:
        print(f"{fact.name}: {told(fact.value)} ({fact.source})")
    for one in result.triggers:
        needs = f" (needs {', '.join(one.missing)})" if one.answer == "unknown" else ""
        print(f"trigger {one.entry.id}, {FIRED[one.answer]}{needs}: {'; '.join(act.text for act in one.proposed)}")
    print("a trigger proposes, never orders")
    for warning in result.warnings:
        print(f"warning: {warning}")
