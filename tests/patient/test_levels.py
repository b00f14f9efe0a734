"""What structures are to get in all phases: phases add up, parts that are tied to one structure do not."""

from __future__ import annotations

from tailort.evaluation.scorecard import _coverage
from tailort.patient import Normalisation, Prescription
from tailort.patient.prescription import levels_gy

OWN = Normalisation("coverage", metric="D95%[Gy]")
TIED = Normalisation("coverage", metric="Mean[Gy]", structure="GTV_Paint")


def test_parts_of_one_painted_structure_ask_for_its_dose_once_and_phases_add_up() -> None:
    parts = [Prescription(name, 63.6, 30, TIED) for name in ("GTVp", "GTVn")]
    phases = [Prescription("PTV", 50.0, 25, OWN), Prescription("PTV", 10.0, 5, OWN, phase=2)]
    assert levels_gy([*parts, *phases]) == {"GTV_Paint": 63.6, "PTV": 60.0}
    rows = {(c.structure, c.metric): c.limit for c in _coverage([*parts, *phases], "goal")}
    assert rows == {("GTV_Paint", "Mean[Gy]"): 63.6, ("PTV", "D95%[Gy]"): 60.0}
