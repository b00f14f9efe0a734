"""The cards at the top of a plan's report say of which dose each number is."""

from types import SimpleNamespace

from tailort.evaluation.scorecard import Row
from tailort.web.planning_report import _cards


def limit(quantity: str, scope: str, value: float, asked: float) -> Row:
    return Row("Esophagus", "D0.035cc[Gy]", quantity, scope, value, "<", asked, "hard", "pass", "KO-90")


def test_a_dose_in_bed_over_all_courses_is_told_apart_from_that_of_the_course() -> None:
    rows = (limit("BED(a/b=3)", "cumulative", 173.9, 187.0), limit("physical", "course", 15.3, 20.0))
    plan = SimpleNamespace(prescriptions=(), scorecard=SimpleNamespace(rows=rows), phases=())
    notes = [card["note"] for card in _cards(plan) if card["label"].startswith("Esophagus")]
    assert notes == [
        "asked < 187; BED(a/b=3) dose over all courses",
        "asked < 20; physical dose of the course",
    ]
