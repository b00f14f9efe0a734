"""`tailort register`: today's CT with another scan. Heavy imports wait for the command."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailort.cli.options import OUT, Json, Names, Out, Overwrite, SamePatient

if TYPE_CHECKING:
    from tailort.patient import RegistrationOptions
    from tailort.registration.turn_and_shift import Metric
    from tailort.workflow.aligning import Alignment


_SHOWN = ("Mean[Gy]", "D1cc[Gy]", "D0.035cc[Gy]")


class Likeness(StrEnum):
    """What is compared for the turn and shift."""

    correlation = "correlation"
    mean_squares = "mean-squares"
    mutual_information = "mutual-information"

    @property
    def metric(self) -> Metric:
        """As the registration calls it."""
        metrics: dict[str, Metric] = {
            "correlation": "correlation", "mean-squares": "mean squares", "mutual-information": "mutual information",
        }  # fmt: skip
        return metrics[self.value]


class Modality(StrEnum):
    """Kind of images."""

    CT = "CT"
    MR = "MR"
    PT = "PT"


def register(
    today: Annotated[Path, typer.Argument(help="Folder with today's CT and, where there is one, its RTSTRUCT.")],
    other: Annotated[Path, typer.Argument(help="Folder with the other scan (CT, MR or PET), its RTSTRUCT and RTDOSE.")],
    deformable: Annotated[
        bool | None,
        typer.Option("--deformable/--rigid", help="Whether tissue may bend (default: of a CT, not of MR and PET)."),
    ] = None,
    metric: Annotated[
        Likeness | None,
        typer.Option(
            "--metric", help="How turn and shift are found (default: correlation of CTs, else mutual information)."
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="NAME", help="Structure of today that turn and shift must bring together."),
    ] = None,
    guide: Annotated[
        list[str] | None,
        typer.Option("--guide", metavar="NAME", help="Structure of both scans that must agree; several times."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="NAME", help="Tissue that the other scan lacks; several times."),
    ] = None,
    sliding: Annotated[
        list[str] | None,
        typer.Option(
            "--sliding", metavar="NAME", help="Structure of both scans that slides along its wall; several times."
        ),
    ] = None,
    modality: Annotated[
        Modality | None, typer.Option("--modality", help="Of the other scan, where there are several.")
    ] = None,
    series: Annotated[
        str | None, typer.Option("--series", help="UID of today's CT series, where there are several.")
    ] = None,
    other_series: Annotated[str | None, typer.Option("--other-series", help="UID of the other scan's series.")] = None,
    names: Names = None,
    dose: Annotated[bool, typer.Option("--dose", help="Map the other scan's RTDOSE onto today's CT.")] = False,
    insist: Annotated[
        bool, typer.Option("--insist", help="Map the dose also by a registration that fails its check.")
    ] = False,
    same_patient: SamePatient = False,
    out: Out = OUT,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find how today's CT lies in another scan, check that, write it as DICOM; map a dose onto today's CT."""
    from tailort.cli.app import LIMIT_VIOLATED, _tell
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress:
        result = register_scans(
            today, other, deformable=deformable, metric=None if metric is None else metric.metric, region=region,
            guides=tuple(guide or ()), without=tuple(without or ()), sliding=tuple(sliding or ()),
            modality=None if modality is None else modality.value, series=series, other_series=other_series,
            names=names, dose=dose, insist=insist, same_patient=same_patient, out=out, overwrite=overwrite,
            progress=progress,
        )  # fmt: skip
    _tell(result, out, as_json, _show)
    if result.failed:
        raise typer.Exit(LIMIT_VIOLATED)


def register_scans(
    today: Path,
    other: Path,
    *,
    deformable: bool | None = None,
    metric: Metric | None = None,
    region: str | None = None,
    guides: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    sliding: tuple[str, ...] = (),
    modality: str | None = None,
    series: str | None = None,
    other_series: str | None = None,
    names: Path | None = None,
    dose: bool = False,
    insist: bool = False,
    same_patient: bool = False,
    out: Path = Path("tailort-out"),
    overwrite: bool = False,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Alignment:
    """Register today's CT with another scan and write reg.dcm, registration.json, report.html and mapped doses.

    Parameters
    ----------
    today, other : Path
        Folders with today's CT, and with the other scan.
    deformable : bool or None
        Whether tissue may bend; None bends a CT and turns and shifts other images.
    metric : {"correlation", "mean squares", "mutual information"} or None
        What is compared for the turn and shift; None takes correlation for CT with CT, else mutual information.
    region, guides, without, sliding
        Structures, as in `RegistrationOptions`.
    modality : {"CT", "MR", "PT"} or None
        Of the other scan; None takes a CT, or else the one kind of images that there is.
    series, other_series : str or None
        Series UIDs where there are several of the kind.
    names : Path or None
        YAML file that maps structure names of both cases to TG-263 ones.
    dose : bool
        Whether doses of the other scan are mapped onto today's frame.
    insist : bool
        Whether they are also by a registration that fails its own check.
    same_patient : bool
        Whether different identifiers are one patient.
    out, overwrite, progress
        As in `commands.plan`.

    Raises
    ------
    InputError, DicomError
        See the exit statuses in docs/commands.md.
    """
    from tailort import dicom
    from tailort.cli.run_files import hashes_of
    from tailort.cli.run_folder import whole_folder
    from tailort.cli.write import write_registration_run
    from tailort.workflow.aligning import align
    from tailort.workflow.clock import StageClock
    from tailort.workflow.earlier import require_same_patient

    clock = StageClock(progress)
    described = {
        "series": series, "other": other.name, "other_series": other_series, "modality": modality, "metric": metric,
        "deformable": deformable, "region": region, "guides": list(guides), "without": list(without),
        "sliding": list(sliding), "names": names.name if names else None, "dose": dose, "insist": insist,
        "same_patient": same_patient,
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(today, other)) as staging:
        told = dicom.load_names(names) if names else None
        with clock.stage("read today's scan") as tell:
            case = dicom.read_case(today, series_uid=series, names=told, progress=lambda _, share: tell(share))
        with clock.stage("read the other scan") as tell:
            before = dicom.read_case(
                other, series_uid=other_series, names=told, absolute=True, modality=modality,
                progress=lambda _, share: tell(share),
            )  # fmt: skip
        if not same_patient:
            require_same_patient(case, [before.pseudonym])
        chosen = _options(before.scans[0].modality, deformable, region, guides, without, sliding)
        result = align(
            case, before, other.resolve().name, chosen, clock, metric=metric, with_dose=dose, insist=insist
        )  # fmt: skip
        with clock.stage("write and report"):
            write_registration_run(result, staging, described, hashes_of(today, (other,)), clock)
    return result


def _options(
    modality: str, deformable: bool | None, region: str | None, guides: tuple[str, ...], without: tuple[str, ...],
    sliding: tuple[str, ...],
) -> RegistrationOptions:  # fmt: skip
    from tailort.patient import RegistrationOptions

    bends = modality == "CT" if deformable is None else deformable
    return RegistrationOptions("deformable" if bends else "rigid", region, guides, without, sliding)


def _show(result: Alignment) -> None:
    """Print what was found, what was measured and what a mapped dose gives."""
    quality = result.registration.quality
    measures = () if quality is None else quality.measures
    judged = [m for m in measures if m.limit is not None]
    print(f"{result.registration.method}: {'no measure has a limit' if quality is None else quality.verdict}")
    print(f"{len(judged) - len(result.failed)} of {len(judged)} measures keep their limit")
    for text in result.failed:
        print(f"  fails: {text}")
    for m in measures:
        if m.name.startswith(("Jacobian determinant, least", "inverse consistency")):
            print(f"  {m.name}: {m.value:.3g}")
    known = result.uncertainty_mm
    told = ", ".join(f"{value:.1f} mm ({percentile} %)" for percentile, value in known.items())
    print(f"uncertainty, 1 standard deviation, percentiles of the body: {told or 'unknown'}")
    for mapped in result.doses:
        print(f"{mapped.label}, physical Gy per course, in today's structures:")
        by_structure: dict[str, list[str]] = {}
        for metric in mapped.metrics:
            if metric.metric in _SHOWN:
                value = f"{metric.low:.2f}" if metric.low == metric.high else f"at least {metric.low:.2f}"
                by_structure.setdefault(metric.structure, []).append(f"{metric.metric} {value}")
        for name, values in by_structure.items():
            print(f"  {name}: {', '.join(values)}")
