"""A site's overlay changes named defaults, tells every one of them, and loosens no hard limit in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from site_overlays import BASE, HEAD, laid

from tailort.errors import ProtocolError
from tailort.protocols import Protocol, available, decide, load, read_record
from tailort.protocols.condition import COMPARE
from tailort.protocols.overlay import laid_over
from tailort.protocols.overlay_file import OverlayFile
from tailort.protocols.overlay_records import OverlayError
from tailort.protocols.plans import with_plan

PRIORITIES = ["hard", "goal", "report"]


def limit(protocol: Protocol, structure: str) -> tuple[str, float, str]:
    (found,) = [one for one in protocol.constraints() if one.structure == structure]
    return found.operator, found.limit, found.priority


def test_a_limit_gets_stricter_and_its_source_tells_who_and_from_what(tmp_path: Path) -> None:
    protocol = laid(tmp_path, 'limits:\n  - {structure: Heart, metric: "V40Gy[%]", was: 30, limit: 25}\n')
    assert (protocol.id, protocol.version) == ("ours", "1")
    assert limit(protocol, "Heart") == ("<", 25.0, "goal")
    (heart,) = [one for one in protocol.constraints() if one.structure == "Heart"]
    assert heart.source == "B-2: A paper; < 30 (goal) as changed by ours"
    assert heart.mark == "site"
    (change,) = protocol.overlays[0].changes
    assert (change.what, change.was, change.now, change.why, change.loosens) == (
        "Heart V40Gy[%]", "< 30 (goal)", "< 25 (goal)", "our committee", "",
    )  # fmt: skip


def test_everything_that_is_not_named_stays_as_it_was(tmp_path: Path) -> None:
    changed = laid(tmp_path, 'limits:\n  - {structure: Heart, metric: "V40Gy[%]", was: 30, limit: 25}\n').file
    base = load(tmp_path / "base.yaml").file
    for name in ("targets", "prescriptions", "technique", "readings", "eligibility", "drugs", "imaging", "facts"):
        assert getattr(changed, name) == getattr(base, name)
    assert changed.limits[::2] == base.limits[::2]


def test_a_reading_becomes_the_default_and_the_decision_follows_it(tmp_path: Path) -> None:
    protocol = laid(tmp_path, "readings:\n  - {rule: B-3, was: from, default: above, why: as in the registry}\n")
    base = load(tmp_path / "base.yaml")
    record = read_record("kps: 70")
    assert (decide(base, record).answer, decide(protocol, record).answer) == ("yes", "no")
    told = decide(protocol, record)
    (default,) = [one for one in told.defaults if one.rule == "B-3"]
    assert (default.taken, default.other) == ("KPS above 70", "KPS of 70 or more")
    assert protocol.rule("B-3").reading.default == "KPS above 70"  # type: ignore[union-attr]
    (overlay,) = told.as_dict()["overlays"]
    assert (overlay["id"], overlay["extends"], overlay["changed_by"], overlay["date"]) == (
        "ours", "base", "Dr A, Department B", "2026-11-02",
    )  # fmt: skip
    assert overlay["changes"] == [
        {
            "what": "reading of B-3", "was": "from (KPS of 70 or more)", "now": "above (KPS above 70)",
            "why": "as in the registry", "loosens": None,
        }
    ]  # fmt: skip


def test_a_protocol_as_it_is_printed_tells_of_no_overlay(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE, encoding="utf-8")
    assert decide(load(tmp_path / "base.yaml"), {}).as_dict()["overlays"] == []


def test_a_margin_changes_and_the_structure_remembers_the_site(tmp_path: Path) -> None:
    protocol = laid(tmp_path, "margins:\n  - {target: PTV1, was: {mm: 5}, expand: {mm: 7}}\n")
    (step,) = protocol.target_steps()
    assert step.then[0].margin.left_mm == 7.0  # type: ignore[union-attr]
    assert step.then[0].rules == ("B-5", "ours")
    assert protocol.rule("ours").mark == "site"
    assert step.then[1] == load(tmp_path / "base.yaml").target_steps()[0].then[1]


def test_drugs_technique_and_slices_change_by_name(tmp_path: Path) -> None:
    protocol = laid(
        tmp_path,
        "drugs:\n  - {regimen: concurrent, drug: paclitaxel, was: low, default: high}\n"
        "technique: {beams: 7, energy_mv: 10}\n"
        "slices:\n  - {of: [GTV], elsewhere: true, was: 10, at_most_mm: 5}\n",
    )
    file = protocol.file
    assert file.drugs is not None
    assert file.drugs.regimens[0].drugs[0].default == "high"
    assert (protocol.technique.beams, protocol.technique.energy_mv) == (7, 10.0)
    assert file.imaging is not None
    assert [entry.at_most_mm for entry in file.imaging.slices] == [5.0, 5.0]
    assert [change.what for change in protocol.overlays[0].changes] == [
        "dose of paclitaxel (concurrent)", "slices outside GTV", "technique",
    ]  # fmt: skip


def test_an_ambiguous_rule_never_tells_a_default_that_the_site_has_changed(tmp_path: Path) -> None:
    changed = laid(
        tmp_path, 'limits:\n  - {structure: Lungs, metric: "V20Gy[%]", was: 28, limit: 25}\n'
    )  # fmt: skip
    (told,) = [one for one in decide(changed, {}).defaults if one.rule == "B-4"]
    assert told.taken == "a limit (changed by ours: Lungs V20Gy[%], <= 28 (hard) becomes <= 25 (hard))"
    smart = HEAD.replace("base.yaml", "smart-imrt").replace('"3"', f'"{load("smart-imrt").version}"')
    margin = "{radial_mm: 5, craniocaudal_mm: 20}"
    wider = laid(
        tmp_path, f"margins:\n  - {{target: CTVp, was: {margin}, expand: {margin.replace('5', '10')}}}\n", smart
    )
    (told,) = [one for one in decide(wider, {}).defaults if one.rule == "TR-01"]
    assert told.taken.startswith("0.5 cm radial (changed by ours: margin of CTVp, 5 mm horizontally")


LOOSER = [
    '{structure: SpinalCord, metric: "Max[Gy]", was: 45, limit: 46',
    '{structure: SpinalCord, metric: "Max[Gy]", was: 45, priority: goal',
    '{structure: SpinalCord, metric: "Max[Gy]", was: 45, limit: 40, priority: goal',
    '{structure: PTV1, metric: "D98%[Gy]", was: 95, limit: 90',
]


@pytest.mark.parametrize("change", LOOSER)
def test_a_hard_limit_is_loosened_only_with_the_key_and_a_reason(tmp_path: Path, change: str) -> None:
    with pytest.raises(ProtocolError, match=r"line 9, limits\[0\]: this loosens a hard limit.*loosens_hard_limit"):
        laid(tmp_path, f"limits:\n  - {change}}}\n")
    with pytest.raises(ProtocolError, match="needs a 'why' of its own"):
        laid(tmp_path, f"limits:\n  - {change}, loosens_hard_limit: true}}\n")
    protocol = laid(tmp_path, f"limits:\n  - {change}, loosens_hard_limit: true, why: a myelopathy board}}\n")
    (warning,) = protocol.overlays[0].warnings
    assert "HARD LIMIT" in warning
    assert "a myelopathy board" in warning


def test_another_reading_that_drops_a_hard_limit_needs_the_key_too(tmp_path: Path) -> None:
    change = "readings:\n  - {rule: B-4, was: limit, default: report"
    with pytest.raises(ProtocolError, match=r"loosens a hard limit, Lungs V20Gy\[%\] <= 28"):
        laid(tmp_path, change + "}\n")
    protocol = laid(tmp_path, change + ", loosens_hard_limit: true, why: reported in our trial}\n")
    assert protocol.overlays[0].loosened[0].what == "reading of B-4"


def test_another_reading_of_a_limit_by_a_table_needs_the_key_because_it_may_loosen(tmp_path: Path) -> None:
    head = HEAD.replace("base.yaml", "reirradiation-spine").replace('"3"', f'"{load("reirradiation-spine").version}"')
    change = "readings:\n  - {rule: KO-82, was: upper_edge, default: mid_bin"
    with pytest.raises(ProtocolError, match=r"SpinalCord_PRV D0\.035cc\[Gy\] by the table .*, for some patients"):
        laid(tmp_path, change + "}\n", head)
    protocol = laid(tmp_path, change + ", loosens_hard_limit: true, why: decided by our board}\n", head)
    assert protocol.overlays[0].loosened


def test_the_key_is_refused_where_nothing_is_loosened(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match=r"limits\[0\].loosens_hard_limit: this loosens no hard limit"):
        laid(
            tmp_path,
            'limits:\n  - {structure: SpinalCord, metric: "Max[Gy]", was: 45, limit: 44, loosens_hard_limit: true, '
            "why: none}\n",
        )


def test_a_goal_may_be_loosened_and_that_is_told(tmp_path: Path) -> None:
    protocol = laid(tmp_path, 'limits:\n  - {structure: Heart, metric: "V40Gy[%]", was: 30, limit: 35}\n')
    (change,) = protocol.overlays[0].changes
    assert change.loosens == "goal"
    assert protocol.overlays[0].warnings == ()
    assert "goal loosened" in change.told


@given(limit_gy=st.floats(0.1, 90).map(lambda x: round(x, 1)), priority=st.sampled_from(["hard", "goal", "report"]))
@settings(max_examples=60, deadline=None)
def test_without_the_key_whatever_the_cord_may_get_it_might_have_got_before(
    tmp_path_factory: pytest.TempPathFactory, limit_gy: float, priority: str
) -> None:
    folder = tmp_path_factory.mktemp("laid")
    change = f'structure: SpinalCord, metric: "Max[Gy]", was: 45, limit: {limit_gy}, priority: {priority}'
    try:
        protocol = laid(folder, f"limits:\n  - {{{change}}}\n")
    except ProtocolError:
        assert limit_gy >= 45 or priority != "hard"
        return
    (cord,) = [one for one in protocol.constraints() if one.structure == "SpinalCord"]
    assert cord.priority == "hard"
    assert not any(cord.holds(dose) for dose in (45.0, 45.05, 50.0, 89.0))


LIBRARY = {name: load(name).file for name in available()}
CHANGEABLE = [(name, n) for name, file in LIBRARY.items() for n in range(len(file.limits))]


@given(which=st.sampled_from(CHANGEABLE), by=st.sampled_from([-5, -1, 0, 1, 5]), priority=st.sampled_from(PRIORITIES))
@settings(max_examples=60, deadline=None)
def test_no_change_of_a_library_protocol_is_taken_that_allows_what_a_hard_limit_refused(
    which: tuple[str, int], by: int, priority: str
) -> None:
    file = LIBRARY[which[0]]
    limit = file.limits[which[1]]
    change = {
        "structure": limit.structure, "metric": limit.metric, "operator": limit.operator, "scope": limit.scope,
        "priority_was": limit.priority, "was": limit.limit, "limit": max(limit.limit + by, 0), "priority": priority,
    }  # fmt: skip
    overlay = OverlayFile.model_validate(
        {
            "id": "ours", "version": "1", "extends": file.id, "extends_version": file.version, "changed_by": "A",
            "why": "B", "limits": (change,),
        }
    )  # fmt: skip
    try:
        changed, record = laid_over(file, overlay, "ours.yaml")
    except OverlayError:
        return
    assert not record.loosened
    # No limit is added or taken away: each has its place, also those of readings that are not the default.
    for was, now in zip(file.limits, changed.limits, strict=True):
        if was.priority == "hard":
            assert now.priority == "hard"
            for value in (n / 2 for n in range(-10, 440)):
                assert COMPARE[was.operator](value, was.limit) or not COMPARE[now.operator](value, now.limit)


FAULTS = [
    ("extends: base.yaml", "extends: nothing.yaml", "line 3, extends: there is no file"),
    ("extends: base.yaml", "extends: no-such-protocol", "line 3, extends: there is no protocol"),
    ('extends_version: "3"', 'extends_version: "2"', "line 4, extends_version: it was written for version 2"),
    ("changed_by: Dr A, Department B\n", "", "'changed_by' is missing"),
    ("why: our committee\n", "", "'why' is missing"),
    ("id: ours", "id: base", "line 1, id: 'base' is the id of a protocol already"),
    ("id: ours", "id: salvage-crt", "line 1, id: 'salvage-crt' is the id of a protocol already"),
    ("was: 30", "was: 31", "line 9, limits[0].was: the limit is 30, not 31"),
    ("limit: 25", "limit: 30", "line 9, limits[0]: this changes nothing"),
    ("structure: Heart", "structure: Liver", "line 9, limits[0]: 'base' has no such limit; it limits SpinalCord"),
    ('"V40Gy[%]"', '"V30Gy[%]"', "line 9, limits[0]: 'base' has no such limit; of Heart there are: V40Gy[%] < 30"),
    ('"V40Gy[%]"', '"V40[%]"', "line 9, limits[0].metric"),
    (", limit: 25", "", "line 9, limits[0]: give the new 'limit'"),
    ("limit: 25", "limit: 125", "with this change 'base' is no longer valid"),
    ("limits:", "prescriptions: []\nlimits:", "'prescriptions' is not known here"),
]


@pytest.mark.parametrize(("old", "new", "told"), FAULTS)
def test_a_fault_is_told_with_file_line_and_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = HEAD + 'limits:\n  - {structure: Heart, metric: "V40Gy[%]", was: 30, limit: 25}\n'
    assert text.count(old) == 1
    with pytest.raises(ProtocolError) as caught:
        laid(tmp_path, "", text.replace(old, new))
    assert str(caught.value).startswith(str(tmp_path / "ours.yaml"))
    assert told in str(caught.value)


def test_a_site_takes_another_dose_that_the_protocol_offers_and_a_person_may_take_the_printed_one(
    tmp_path: Path,
) -> None:
    head = HEAD.replace("base.yaml", "salvage-crt").replace('"3"', f'"{load("salvage-crt").version}"')
    protocol = laid(tmp_path, 'options:\n  - {plan: A, option: "6216"}\n', head)

    def boost(plan: Protocol) -> float:
        return max(entry.dose_gy for entry in plan.prescriptions())

    assert boost(with_plan(protocol, "A")) == 62.16
    assert boost(with_plan(protocol, "A", "printed")) == 59.92
    assert boost(with_plan(load("salvage-crt"), "A")) == 59.92
    assert with_plan(protocol, "C").prescriptions() == with_plan(load("salvage-crt"), "C").prescriptions()
    (told,) = [one for one in decide(protocol, {}).defaults if one.rule == "MS-60"]
    assert "changed by ours: doses of plan A" in told.taken


NAMES = [
    ("options:\n  - {plan: A, option: x}\n", "options[0].plan: 'base' has no plan 'A'; it has none"),
    ("readings:\n  - {rule: B-9, was: a, default: b}\n", "readings[0].rule: 'base' names no readings of 'B-9'"),
    ("readings:\n  - {rule: B-3, was: above, default: from}\n", "readings[0].was: the default is from, not above"),
    ("readings:\n  - {rule: B-3, was: from, default: b}\n", "readings[0].default: 'b' is no reading of 'B-3'"),
    ("margins:\n  - {target: PTV2, was: {mm: 5}, expand: {mm: 7}}\n", "margins[0].target: 'base' makes no 'PTV2'"),
    ("margins:\n  - {target: PTV1, was: {mm: 6}, expand: {mm: 7}}\n", "margins[0].was: the margin of 'PTV1' is 5 mm"),
    ("drugs:\n  - {regimen: x, drug: y, was: z, default: z}\n", "drugs[0].regimen: 'base' has no regimen 'x'"),
    ("drugs:\n  - {regimen: concurrent, drug: y, was: z, default: z}\n", "drugs[0].drug: regimen 'concurrent' has no"),
    ("drugs:\n  - {regimen: concurrent, drug: paclitaxel, was: low, default: z}\n", "'z' is no reading of the dose"),
    ("slices:\n  - {of: [PTV], was: 5, at_most_mm: 3}\n", "slices[0]: 'base' asks for no such slices"),
    ("slices:\n  - {of: [GTV], was: 4, at_most_mm: 3}\n", "slices[0].was: the tolerance is 5 mm, not 4 mm"),
    ("technique: {beams: 9}\n", "technique: this changes nothing"),
    ("technique: {arcs: 1}\n", "with this change 'base' is no longer valid"),
    ("", "an overlay changes something"),
]


@pytest.mark.parametrize(("changes", "told"), NAMES)
def test_a_name_or_value_that_the_protocol_does_not_have_is_refused(tmp_path: Path, changes: str, told: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        laid(tmp_path, changes)
    assert told in str(caught.value)
    assert "ours.yaml" in str(caught.value)


def test_an_overlay_of_an_overlay_keeps_both(tmp_path: Path) -> None:
    laid(tmp_path, 'limits:\n  - {structure: Heart, metric: "V40Gy[%]", was: 30, limit: 25}\n')
    head = HEAD.replace("id: ours", "id: mine").replace("base.yaml", "ours.yaml").replace('"3"', '"1"')
    protocol = laid(
        tmp_path, 'limits:\n  - {structure: Heart, metric: "V40Gy[%]", was: 25, limit: 20}\n', head, "mine.yaml"
    )
    assert limit(protocol, "Heart") == ("<", 20.0, "goal")
    assert [(one.id, one.extends) for one in protocol.overlays] == [("ours", "base"), ("mine", "ours")]


def test_overlays_that_extend_each_other_are_refused_with_the_way_round(tmp_path: Path) -> None:
    change = 'limits:\n  - {structure: Heart, metric: "V40Gy[%]", was: 30, limit: 25}\n'
    (tmp_path / "b.yaml").write_text(HEAD.replace("base.yaml", "ours.yaml") + change, encoding="utf-8")
    with pytest.raises(ProtocolError, match=r"b\.yaml, line 3, extends: .*itself: ours\.yaml -> b\.yaml -> ours\.yaml"):
        laid(tmp_path, change, HEAD.replace("base.yaml", "b.yaml"))


def test_a_protocol_of_the_library_is_extended_by_its_id(tmp_path: Path) -> None:
    version = load("salvage-crt").version
    head = HEAD.replace("base.yaml", "salvage-crt").replace('"3"', f'"{version}"')
    protocol = laid(tmp_path, 'limits:\n  - {structure: Heart, metric: "V40Gy[%]", was: 30, limit: 25}\n', head)
    assert protocol.overlays[0].extends == "salvage-crt"
    assert protocol.status == "needs-clinician-confirmation"
