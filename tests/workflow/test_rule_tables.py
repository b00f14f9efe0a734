"""The report tells which rule led to which structure and number, what was amended and what the images lack."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tailort.evaluation import Row, Scorecard
from tailort.patient import Structure
from tailort.protocols import decide, for_patient, load, read_record
from tailort.protocols.plans import amended
from tailort.web.page import render
from tailort.web.rule_tables import default_tables, made_tables, rule_tables, rule_warnings, strata
from tailort.workflow.amending import amendments_of
from tailort.workflow.imaging import ImagingRow
from tailort.workflow.tracing import targets_and_rules

SALVAGE = load("salvage-crt")
# R0, one node of 6 cm far from the stomach: plan C.
FACTS = {
    "tumour_site": "thoracic oesophagus", "histology": "squamous cell carcinoma", "surgery": "R0", "kps": 80,
    "locoregional_recurrence": True, "largest_lesion_cm": 6.0, "gtv_to_stomach_cm": 3.0, "consent": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def run() -> Any:
    record = read_record(FACTS)
    decision = decide(SALVAGE, record)
    first = for_patient(SALVAGE, record)
    second = amended(first, "45-in-25")
    row = Row("Stomach", "V50Gy[%]", "physical", "course", 61.5, None, None, "report", "report", "")
    plan: Any = SimpleNamespace(title="Plan C: involved field", scorecard=Scorecard((row,)), dvhs=())
    (found,) = amendments_of(first, plan.title, plan.scorecard)
    square = (np.array([(0.0, 0, 0), (10, 0, 0), (10, 10, 0)]),)
    made = Structure("CTV_6000", "CTV", square, "1.2", made_by=("expanded by 6 mm radially [MS-51, MS-52]",))
    drawn = Structure("Heart", "ORGAN", square, "1.2")
    return SimpleNamespace(
        protocol=second,
        decision=decision,
        structures=(made, drawn),
        main=SimpleNamespace(dvhs=()),
        comparator=None,
        superseded=(plan,),
        amendments=(replace(found, superseded=plan, protocol=first),),
        imaging=(
            ImagingRow(("G-07",), "CT slices at most 3 mm", "slices 5 mm apart", "note"),
            ImagingRow(("MS-53",), "heart contoured (Heart)", "Heart not drawn", "fail"),
        ),
        flags=(SALVAGE.file.flags[0],),
    )


def test_both_doses_are_told_with_their_rules_and_the_first_as_superseded(run: Any) -> None:
    rows = {row["of"]: row for row in rule_tables(run)["numbers"]}
    assert rows["dose of PTV_4500"]["told"].startswith("45 Gy in 25 fractions")
    assert [rule["id"] for rule in rows["dose of PTV_4500"]["rules"]] == ["MS-76", "MS-78"]
    assert rows["dose of PTV_6000 (superseded)"]["told"].startswith("60 Gy in 30 fractions")


def test_an_ambiguous_rule_is_told_as_it_was_read(run: Any) -> None:
    (volume,) = made_tables(run)
    assert (volume["name"], [rule["id"] for rule in volume["rules"]]) == ("CTV_6000", ["MS-51", "MS-52"])
    assert volume["rules"][1]["mark"] == "ambiguous"
    assert "Read as: 0.6 cm horizontally" in volume["rules"][1]["text"]
    assert "Read as" not in volume["rules"][0]["text"]


def test_what_was_measured_and_what_followed_stands_at_the_top(run: Any) -> None:
    told = " ".join(rule_warnings(run))
    doses = "45 Gy in 25 fractions to PTV_4500 in place of 60 Gy in 30 fractions to PTV_6000"
    assert f"Amended. Plan C: Stomach V50Gy[%] is 61.50, > 50: planned once more with {doses} (MS-76" in told
    assert "heart contoured (Heart); found: Heart not drawn (MS-53)" in told
    assert "slices" not in told  # a note is no warning
    (row,) = rule_tables(run)["amendments"]
    assert (row["asked"], row["found"], row["kind"]) == ("Stomach V50Gy[%] > 50", "61.50", "fail")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "Not known whether to amend. Plan C"),
        (61.5, "Not amended. Plan C: Stomach V50Gy[%] is 61.50, > 50: other doses are due: 45 Gy in 25 fractions to"),
    ],
)
def test_an_amendment_that_was_not_made_is_not_called_one(run: Any, value: float | None, says: str) -> None:
    verdict: Any = "unknown" if value is None else "report"
    row = Row("Stomach", "V50Gy[%]", "physical", "course", value, None, None, "report", verdict, "", reason="outside")
    found = amendments_of(for_patient(SALVAGE, read_record(FACTS)), "Plan C: involved field", Scorecard((row,)))
    told = rule_warnings(SimpleNamespace(amendments=found, imaging=()))  # type: ignore[arg-type]
    assert told[0].startswith(says)


def test_defaults_are_parted_into_those_that_were_applied_and_the_others(run: Any) -> None:
    tables = default_tables(run.decision, run.protocol)
    used, others = ({row["id"] for row in tables[name]} for name in ("used", "others"))
    assert {"MS-78", "MS-52", "MS-31"} <= used
    assert {"MS-81", "MS-60"} <= others
    assert used | others == {rule.id for rule in SALVAGE.rules if rule.mark == "ambiguous"}
    assert not used & others
    (row,) = [row for row in tables["used"] if row["id"] == "MS-31"]
    assert row["changes"] == ["MS-31=from-5-cm: changes nothing for this patient"]


def test_volumes_have_their_rules_in_the_run_too(run: Any) -> None:
    (told,) = targets_and_rules(run)
    assert (told["structure"], told["rules"]) == ("CTV_6000", ["MS-51", "MS-52"])


def test_the_page_shows_all_of_it(run: Any) -> None:
    contents: dict[str, Any] = {
        "title": "t", "subtitle": "s", "warnings": rule_warnings(run), "cards": [], "summary": [], "decision": None,
        "planes": [], "dvh": None, "tables": [], "scorecards": [], "comparison": None, "bevs": [],
        "made": made_tables(run), "traced": rule_tables(run), "rules": [], "provenance": [], "notes": [], "stages": [],
    }  # fmt: skip
    page = html.unescape(re.sub(r"<[^>]+>", " ", render(contents)))
    for words in (
        "Amendments of the doses", "superseded: planned once more", "Imaging requirements", "Heart not drawn",
        "Which rule led to which number", "dose of PTV_6000 (superseded)", "How the volumes were made",
        SALVAGE.file.flags[0].text,
    ):  # fmt: skip
        assert words in page
    rows = strata(run.decision)
    assert [(row["table"], row["told"]) for row in rows][1] == ("irradiation", "IFI: largest lesion above 5 cm")
