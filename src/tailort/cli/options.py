"""Options that several commands share, each with one help text. Imports only typer: help starts fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

OUT, TABLE, ENGINE = Path("tailort-out"), "schneider2000", "collapsed-cone"
"""Defaults of `Out`, `DensityTable` and `Engine`."""

# Results.
Out = Annotated[Path, typer.Option("--out", help="Output folder, written whole or not at all.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result of TailoRT in the output folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Machine output on stdout.")]

# The case.
DicomDir = Annotated[Path, typer.Argument(help="Folder with the case as DICOM, in any order and nesting.")]
PlanningDir = Annotated[Path, typer.Argument(help="Folder with the planning CT and its RTSTRUCT.")]
Series = Annotated[str | None, typer.Option("--series", help="UID of the CT series, where there are several.")]
PlanningSeries = Annotated[
    str | None, typer.Option("--series", help="UID of the planning CT, where there are several.")
]
Names = Annotated[
    Path | None, typer.Option("--names", help="YAML file: structure names in the DICOM files to TG-263 names.")
]
Record = Annotated[Path | None, typer.Option("--record", help="Clinical record (default: record.yaml in the folder).")]
SamePatient = Annotated[
    bool, typer.Option("--same-patient", help="Folders with different patient identifiers are one person.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Which virtual patient.")]

# The protocol.
ByProtocol = Annotated[str, typer.Option("--protocol", help="Protocol id, or a protocol file of your own.")]
LimitsOf = Annotated[str | None, typer.Option("--protocol", help="Judge by this protocol's limits.")]
Readings = Annotated[
    list[str] | None,
    typer.Option("--reading", metavar="RULE=NAME", help="Reading of an ambiguous rule of the protocol; several times."),
]
OtherDoses = Annotated[
    str | None, typer.Option("--option", help="Other doses that the protocol offers for the patient's plan.")
]

# The dose.
PlanMachine = Annotated[
    str | None, typer.Option("--machine", help="Machine id or file (default: the protocol's, else generic-6MV).")
]
Engine = Annotated[
    str,
    typer.Option("--engine", metavar="NAME", help="Dose engine: collapsed-cone, collapsed-cone-water, pencil-nyholm."),
]
DoseGrid = Annotated[
    float | None,
    typer.Option("--dose-grid", min=1.0, max=10.0, help="Dose grid spacing, mm (default: the protocol's, or 3)."),
]
DensityTable = Annotated[
    str, typer.Option("--density-table", help="Name, or CSV file with hu,density_g_cm3: the scanner's own.")
]
Densities = Annotated[
    list[str] | None,
    typer.Option("--density", help="Density of a structure, g/cm3: 'CouchInterior=0.08'; several times."),
]

# Images of function and registrations.
Reference = Annotated[
    str | None,
    typer.Option("--reference", metavar="NAME or SUV", help="Of a ratio: structure, or SUV, it is divided by."),
]
SessionBends = Annotated[
    bool, typer.Option("--deformable/--rigid", help="Whether the CT of an image's session may bend.")
]
Region = Annotated[
    str | None, typer.Option("--region", metavar="NAME", help="Structure that turn and shift must bring together.")
]
InsistOnDoses = Annotated[
    bool, typer.Option("--insist", help="Add doses by registrations that fail their own check; the report says so.")
]
InsistOnImages = Annotated[bool, typer.Option("--insist", help="Use a registration that fails its own check.")]
