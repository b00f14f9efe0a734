"""`tailort subvolume`: the part of a target that an image of function singles out. Heavy imports wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

if TYPE_CHECKING:
    from tailort.workflow.subdividing import Subdivision


def subvolume(
    dicom_dir: PlanningDir,
    image: Annotated[
        Path, typer.Option("--image", metavar="DIR", help="Folder with the PET or MR, and the CT of its session.")
    ],
    structure: Annotated[str, typer.Option("--structure", metavar="NAME", help="Target of which a part is wanted.")],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME[=N]",
            help="relative=50, absolute=2.5, contrast=50, nestle, gradient, kmeans=2, gmm=2.",
        ),
    ],
    quantity: Annotated[
        str,
        typer.Option("--quantity", help="fdg-suv, flt-suv, fmiso-tumour-to-blood, cu-atsm-tumour-to-muscle, adc."),
    ] = "fdg-suv",
    reference: Reference = None,
    background: Annotated[
        float | None,
        typer.Option("--background", help="Uptake around the target (default: median 10 to 20 mm beyond it)."),
    ] = None,
    spare: Annotated[
        list[str] | None,
        typer.Option("--spare", metavar="NAME", help="Nothing is painted there, nor in any _PRV; several times."),
    ] = None,
    smooth: Annotated[float, typer.Option("--smooth", min=0.0, help="Smoothing, mm (standard deviation).")] = 0.0,
    least: Annotated[float, typer.Option("--least-cm3", min=0.0, help="Smaller parts are dropped.")] = 0.0,
    name: Annotated[str | None, typer.Option("--name", help="Of the sub-volume (default: a TG-263 name).")] = None,
    unit: Annotated[
        str | None, typer.Option("--unit", help="Of a diffusion map whose files do not tell it: '10^-6 mm2/s'.")
    ] = None,
    most_days: Annotated[
        int | None, typer.Option("--most-days", min=0, help="Most days between the image and the planning CT.")
    ] = None,
    during_treatment: Annotated[
        bool, typer.Option("--during-treatment", help="The image may be later than the start of treatment.")
    ] = False,
    deformable: SessionBends = False,
    region: Region = None,
    insist: InsistOnImages = False,
    same_patient: SamePatient = False,
    series: PlanningSeries = None,
    image_series: Annotated[
        str | None, typer.Option("--image-series", help="UID of the PET or MR, where there are several.")
    ] = None,
    names: Names = None,
    record: Record = None,
    out: Out = OUT,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Delineate the part of a target that a PET or a diffusion MR singles out, with how sure that is."""
    from tailort.cli.app import _tell
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress:
        result = subvolume_of(
            dicom_dir, image, structure, method, quantity=quantity, reference=reference, background=background,
            spare=tuple(spare or ()), smooth_mm=smooth, least_cm3=least, name=name, unit=unit, most_days=most_days,
            during_treatment=during_treatment, deformable=deformable, region=region, insist=insist,
            same_patient=same_patient, series=series, image_series=image_series, names=names, record=record, out=out,
            overwrite=overwrite, progress=progress,
        )  # fmt: skip
    _tell(result, out, as_json, _show)


def subvolume_of(
    dicom_dir: Path,
    image: Path,
    structure: str,
    method: str,
    *,
    quantity: str = "fdg-suv",
    reference: str | None = None,
    background: float | None = None,
    spare: Sequence[str] = (),
    smooth_mm: float = 0.0,
    least_cm3: float = 0.0,
    name: str | None = None,
    unit: str | None = None,
    most_days: int | None = None,
    during_treatment: bool = False,
    deformable: bool = False,
    region: str | None = None,
    insist: bool = False,
    same_patient: bool = False,
    series: str | None = None,
    image_series: str | None = None,
    names: Path | None = None,
    record: Path | None = None,
    out: Path = Path("tailort-out"),
    overwrite: bool = False,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Subdivision:
    """Delineate a biological sub-volume; write rtstruct.dcm, subvolume.json, report.html and run.json.

    Parameters
    ----------
    dicom_dir, image : Path
        Folders with the planning CT and with the image of function.
    structure : str
        Target of which a part is wanted.
    method : str
        Such as "relative=50"; see `targets.METHODS`.
    quantity : str
        One of `patient.QUANTITIES`.
    reference : str or None
        Of a ratio: a structure, or its SUV.
    background, smooth_mm, least_cm3, name
        As in `targets.subvolume` and `Shaping`.
    spare : sequence of str
        Structures that nothing is painted in, beside every planning risk volume.
    unit : str or None
        Of a diffusion map whose files do not tell it.
    most_days, during_treatment, insist, same_patient
        As in `workflow.functional.Reading`.
    deformable, region
        How the CT of the image's session is registered where frames of reference differ.
    series, image_series, names, record, out, overwrite, progress
        As in `commands.plan`.

    Raises
    ------
    InputError, DicomError
        See the exit statuses in docs/commands.md.
    """
    from tailort import dicom
    from tailort.cli.run_files import hashes_of
    from tailort.cli.run_folder import whole_folder
    from tailort.cli.write_subvolume import write_subvolume
    from tailort.patient import RegistrationOptions, quantity_named
    from tailort.protocols import load_record
    from tailort.targets.delineation import Shaping
    from tailort.targets.uptake_methods import chosen_method
    from tailort.workflow.clock import StageClock
    from tailort.workflow.functional import Reading
    from tailort.workflow.subdividing import subdivide

    wanted, chosen = quantity_named(quantity), chosen_method(method)
    shaping = Shaping(smooth_mm, least_cm3)
    reading = Reading(
        _reference(reference), RegistrationOptions("deformable" if deformable else "rigid", region), insist,
        same_patient, most_days, during_treatment,
    )  # fmt: skip
    clock = StageClock(progress)
    described = {
        "image": image.name, "structure": structure, "method": str(chosen), "quantity": wanted.id,
        "reference": reference, "background": background, "spare": list(spare), "smooth_mm": smooth_mm,
        "least_cm3": least_cm3, "name": name, "unit": unit, "most_days": most_days,
        "during_treatment": during_treatment, "deformable": deformable, "region": region, "insist": insist,
        "same_patient": same_patient, "series": series, "image_series": image_series,
        "names": names.name if names else None,
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir, image)) as staging:
        told = dicom.load_names(names) if names else None
        with clock.stage("read the case") as tell:
            case = dicom.read_case(dicom_dir, series_uid=series, names=told, progress=lambda _, share: tell(share))
            at = record or (dicom_dir / "record.yaml")
            if record is not None or at.is_file():
                case = case.with_facts(load_record(at))
        with clock.stage("read the image") as tell:
            scan = dicom.read_functional(
                image, wanted, series_uid=image_series, unit=unit,
                frame_of_reference=case.ct.image.grid.frame_of_reference, progress=lambda _, share: tell(share),
            )  # fmt: skip
        result = subdivide(
            case,
            scan,
            structure,
            chosen,
            clock,
            reading,
            spare=spare,
            background=background,
            shaping=shaping,
            name=name,
        )
        with clock.stage("write and report"):
            write_subvolume(result, staging, described, hashes_of(dicom_dir, (image,)), clock)
    return result


def _reference(told: str | None) -> str | float | None:
    """A reference as a number where it is one."""
    try:
        return None if told is None else float(told)
    except ValueError:
        return told


def _show(result: Subdivision) -> None:
    """Print what was found and how sure it is."""
    found, image = result.found, result.image
    unit = "" if found.quantity.unit == "1" else f" {found.quantity.unit}"
    share = 100.0 * found.volume_cm3 / found.target_cm3
    print(f"{found.structure.name}: {found.volume_cm3:.2f} cm3, {share:.0f} % of {found.target}")
    print(f"{found.chosen}: edge at {found.level:.4g}{unit} ({found.source}; {found.mark})")
    for spread in found.spreads:
        by = "nothing remains" if spread.surface_mm is None else f"surface {spread.surface_mm:.1f} mm"
        print(f"  {spread.moved}: {spread.least_cm3:.2f} to {spread.most_cm3:.2f} cm3, {by}")
    for name, cm3 in found.spared_cm3.items():
        print(f"  {name} takes {cm3:.2f} cm3 away")
    if found.dropped_cm3:
        print(f"  {len(found.dropped_cm3)} part(s) dropped, {sum(found.dropped_cm3):.2f} cm3")
    print(f"image: {image.registered}")
    for warning in result.warnings:
        print(f"warning: {warning}")
