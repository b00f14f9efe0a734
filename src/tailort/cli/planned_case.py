"""The case that was planned: DICOM in one folder, or a run folder of TailoRT and the folder of its CT."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tailort import dicom
from tailort.cli.demos import CASE
from tailort.errors import InputError
from tailort.patient import Case

RUN = "run.json"
# Of a run folder: what stands beside these belongs to plans that were compared with.
_KINDS = ("rtstruct", "rtplan", "rtdose")


def described_run(folder: Path) -> Mapping[str, Any]:
    """What run.json tells of a run folder; nothing where there is none.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    path = folder / RUN
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read as what a run tells of itself ({error})") from error
    return told if isinstance(told, dict) else {}


def folder_of_ct(folder: Path, case_dir: Path | None) -> Path:
    """Folder with the planning CT and the clinical record.

    Raises
    ------
    InputError
        When a run folder does not hold its CT and nobody names another folder.
    """
    if case_dir is not None:
        return case_dir
    if not (folder / RUN).is_file():
        return folder
    if (folder / CASE).is_dir():
        return folder / CASE
    raise InputError(
        f"'{folder}' is a run folder without its CT; name the folder of the case that was planned with --case DIR"
    )


def read_planned(folder: Path, case_dir: Path | None, series: str | None, names: Path | None) -> Case:
    """Read planning CT, structures, plan and dose.

    Parameters
    ----------
    folder : Path
        Of the plan: DICOM, or a run folder.
    case_dir : Path or None
        Folder of the planning CT, where it is another one.
    series : str or None
        UID of the planning CT's series, where there are several.
    names : Path or None
        YAML file that maps the case's structure names to TG-263 ones.

    Raises
    ------
    InputError, DicomError
        Naming the folder.
    """
    if not folder.is_dir():
        raise InputError(f"'{folder}' does not exist: name the folder of the case that was planned")
    named = dicom.load_names(names) if names else None
    where = folder_of_ct(folder, case_dir)
    base = dicom.read_case(where, series_uid=series, names=named)
    if where.resolve() == folder.resolve():
        return base
    with tempfile.TemporaryDirectory(prefix="tailort-plan-") as kept:
        for path in sorted(folder.glob("*.dcm")):
            if path.name.startswith(_KINDS):
                (Path(kept) / path.name).symlink_to(path.resolve())
        if not any(Path(kept).iterdir()):
            raise InputError(f"'{folder}' holds no rtplan.dcm and rtdose.dcm of a plan; name the run folder of a plan")
        plan = dicom.read_case(Path(kept), on=base.ct, names=named)
    structures = plan.structures if len(plan.structures) else base.structures
    return replace(base, structures=structures, plans=plan.plans, doses=plan.doses, notes=(*base.notes, *plan.notes))
