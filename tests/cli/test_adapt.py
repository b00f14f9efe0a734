"""`tailort adapt` from DICOM folders to a run folder."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import dicom_cases as d
import pytest
import water_cases as w
from pydicom import dcmread
from pydicom.dataset import Dataset

from tailort.cli import commands
from tailort.cli.adapt_commands import adapt_course
from tailort.cli.planned_case import folder_of_ct, read_planned
from tailort.errors import InputError

PROTOCOL = """
id: own
version: "1"
title: A protocol of one's own
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV, dose_gy: 40, fractions: 20}
targets:
  - {name: PTV, role: PTV, of: [GTVp], then: [{expand: {radial_mm: 2, craniocaudal_mm: 2}}]}
technique: {kind: imrt, beams: 3}
limits:
  - {structure: Esophagus, metric: "Max[Gy]", operator: "<", limit: 60, priority: hard}
"""


def case(folder: Path, *more: Any) -> Path:
    return w.case(folder, [w.EXTERNAL, w.TUMOUR, w.OESOPHAGUS], *more)


def fraction(number: int, day: str) -> Any:
    """Treatment record of the plan of `dicom_cases`, both beams."""
    ds = d.base("1.2.840.10008.5.1.4.1.1.481.4", f"1.9.{number}", "RTRECORD", "1.2.3.41")
    ds.TreatmentDate = day
    plan = Dataset()
    plan.ReferencedSOPClassUID, plan.ReferencedSOPInstanceUID = d.RTPLAN, d.PLAN_UID
    ds.ReferencedRTPlanSequence, ds.TreatmentSessionBeamSequence = [plan], []
    for beam in (1, 2):
        item = Dataset()
        item.ReferencedBeamNumber, item.CurrentFractionNumber = beam, number
        item.TreatmentTerminationStatus = "NORMAL"
        ds.TreatmentSessionBeamSequence.append(item)
    return ds


def asked(tmp_path: Path, **told: Any) -> Any:
    planned, new = tmp_path / "planned", tmp_path / "week3"
    if not planned.exists():
        case(planned, d.plan())
    if not new.exists():
        d.write(new, *w.slices())
    return adapt_course(
        planned, (new,), **{"machine": "generic-6MV", "engine": "pencil-nyholm", "out": tmp_path / "out"} | told
    )


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({}, "how many fractions were given"),
        ({"delivered": (26,)}, "26 fractions were delivered and the plan has 25"),
        ({"delivered": (3, 8)}, "2 time"),
        ({"delivered": (3,), "replan": "perhaps"}, "--replan 'perhaps'"),
        ({"delivered": (3,), "hu_correction": "table"}, "--new-density-table"),
        ({"delivered": (3,), "hu_correction": "magic"}, "unknown correction"),
        ({"delivered": (3,), "weight_kg": 700.0}, "700 kg"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(tmp_path: Path, told: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        asked(tmp_path, **told)
    assert not (tmp_path / "out").exists()


def test_a_ct_of_another_patient_is_refused(tmp_path: Path) -> None:
    slices = w.slices()
    for ds in slices:
        ds.PatientID = "P2"
    d.write(tmp_path / "week3", *slices)
    with pytest.raises(InputError, match="patient 'P2', the plan of 'P1'"):
        asked(tmp_path, delivered=(3,))


def test_a_ct_before_the_planning_ct_is_refused(tmp_path: Path) -> None:
    slices = w.slices()
    for ds in slices:
        ds.StudyDate = "20251231"
    d.write(tmp_path / "week3", *slices)
    with pytest.raises(InputError, match="before the planning CT of 2026-01-01"):
        asked(tmp_path, delivered=(3,))


def test_treatment_records_of_another_plan_are_refused(tmp_path: Path) -> None:
    other = fraction(1, "20260302")
    other.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID = "1.2.9"
    case(tmp_path / "planned", d.plan(), other)
    with pytest.raises(InputError, match="of another plan"):
        asked(tmp_path)


def two_plans(tmp_path: Path, *records: Any) -> None:
    """A plan of 25 fractions and one of 5, as another system writes them: which is first they do not tell."""
    boost = d.plan(fractions=5, dose_gy=10.0, uid="1.2.3.32")
    boost.RTPlanLabel = "BOOST"
    case(tmp_path / "planned", d.plan(), boost, *records)


@pytest.mark.parametrize(
    ("plans", "told"),
    [((), "do not tell which of them is given first"), (("P50", "P10"), "name each of its plans once: P50, BOOST")],
)
def test_plans_of_several_phases_without_an_order_are_refused(
    tmp_path: Path, plans: tuple[str, ...], told: str
) -> None:
    two_plans(tmp_path)
    with pytest.raises(InputError, match=told):
        asked(tmp_path, delivered=(27,), plans=plans)
    assert not (tmp_path / "out").exists()


def test_more_fractions_than_all_phases_have_are_refused(tmp_path: Path) -> None:
    two_plans(tmp_path)
    with pytest.raises(InputError, match="31 fractions were delivered and the plan has 30"):
        asked(tmp_path, delivered=(31,), plans=("P50", "BOOST"))


@pytest.mark.slow
def test_fractions_of_several_phases_are_counted_in_the_order_that_a_person_says(tmp_path: Path) -> None:
    two_plans(tmp_path)
    made = asked(tmp_path, delivered=(27,), plans=("P50", "BOOST"), replan="no")
    assert [plan.label for plan in made.plans] == ["P50", "BOOST"]
    assert [day.by_plan for day in made.days] == [(25, 2), (0, 0)]
    # On the same CT: 25 fractions of the one, 2 of the other, and 3 to come.
    assert [dose.fractions for dose in made.projected] == [25, 2, 3]
    assert made.fractions == 30
    for row in made.rows:
        assert row.projected == pytest.approx(row.planned, rel=1e-3)


def test_a_run_folder_without_its_ct_asks_for_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    with pytest.raises(InputError, match="--case"):
        folder_of_ct(run, None)
    (run / "case").mkdir()
    assert folder_of_ct(run, None) == run / "case"
    with pytest.raises(InputError, match="does not exist"):
        read_planned(tmp_path / "nowhere", None, None, None)


@pytest.mark.slow
def test_adapting_to_the_same_ct_changes_nothing_and_what_is_planned_anew_holds_on_the_sum(tmp_path: Path) -> None:
    planned = case(tmp_path / "planned")
    d.write(tmp_path / "week3", *w.slices())
    (tmp_path / "own.yaml").write_text(PROTOCOL)
    run = commands.plan(
        planned, str(tmp_path / "own.yaml"), out=tmp_path / "run", dose_grid_mm=3.0, engine="pencil-nyholm"
    )
    made = adapt_course(
        tmp_path / "run", (tmp_path / "week3",), delivered=(8,), case_dir=planned, replan="yes", out=tmp_path / "out"
    )
    # What was given and what remains of one plan on one anatomy is the plan.
    assert made.fired == ()
    for row in made.rows:
        assert row.projected == pytest.approx(row.planned, rel=1e-3)
        assert row.so_far == pytest.approx(0.4 * (row.planned or 0.0), rel=1e-3)
    # The new plan gives what is left, with the dose per fraction that was planned; its limits hold on the sum.
    assert made.replanned is not None
    assert made.replanned.plan.fractions == 12
    assert [p.dose_gy for p in made.replanned.plan.prescriptions] == pytest.approx([24.0])
    card = made.replanned.result.scorecard
    rows = {(row.structure, row.metric): row for row in card.rows}
    assert rows["PTV", "D95%[Gy]"].value == pytest.approx(40.0, abs=0.2)
    assert not card.hard_failures
    highest = [float(dose.image.values.max()) for dose in (made.given[0], made.replanned.result.phases[0].dose)]
    assert float(made.replanned.result.dose.image.values.max()) == pytest.approx(sum(highest), rel=0.02)
    # What is written says what is to be reviewed, and which plans the sum is of.
    told = json.loads((tmp_path / "out" / "adaptation.json").read_text())
    assert told["delivered"] == 8
    assert told["remaining"] == 12
    assert set(told["structures"].values()) == {"to be reviewed"}
    structures = dcmread(tmp_path / "out" / "rtstruct.dcm")
    assert all("to be reviewed" in roi.ROIDescription for roi in structures.StructureSetROISequence[:2])
    plan = dcmread(tmp_path / "out" / "rtplan.dcm")
    assert plan.FractionGroupSequence[0].NumberOfFractionsPlanned == 12
    total = dcmread(tmp_path / "out" / "rtdose.dcm")
    assert len(total.ReferencedRTPlanSequence) == 2
    assert run.main.plan.fractions == 20
    assert "to be reviewed" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_fractions_by_treatment_records_are_those_by_number(tmp_path: Path) -> None:
    planned = tmp_path / "planned"
    days = [(dt.date(2026, 1, 5) + dt.timedelta(days=n)).strftime("%Y%m%d") for n in range(3)]
    case(planned, d.plan(), *(fraction(n + 1, day) for n, day in enumerate(days)))
    slices = w.slices()
    for ds in slices:
        ds.StudyDate = "20260106"
    d.write(tmp_path / "week3", *slices)
    made = asked(tmp_path, replan="no")
    assert made.delivered == 3
    assert [day.fractions for day in made.days] == [1, 2]
