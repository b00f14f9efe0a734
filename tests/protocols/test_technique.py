"""A technique says for every phase how it is delivered, and refuses what it cannot mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tailort.patient.arrangements import arrangements
from tailort.protocols import PhaseTechnique, Technique

CONFORMAL: dict[str, Any] = {"kind": "3dcrt", "arrangement": "ap-pa", "aperture_margin_mm": 7.0}
IMRT: dict[str, Any] = {"kind": "imrt", "beams": 9}
VMAT: dict[str, Any] = {"kind": "vmat", "arcs": 2}

whole = st.one_of(
    st.builds(lambda n, c: IMRT | {"beams": n, "collimator_deg": c}, st.integers(1, 72), st.floats(0, 359)),
    st.builds(lambda d: IMRT | {"delivery": d}, st.sampled_from(["step-and-shoot", "sliding-window"])),
    st.builds(lambda n: VMAT | {"arcs": n}, st.integers(1, 2)),
    st.builds(
        lambda a, m, n: CONFORMAL | {"arrangement": a, "aperture_margin_mm": m, "subfields": n},
        st.sampled_from(sorted(arrangements())),
        st.floats(0, 20),
        st.integers(0, 5),
    ),
    st.builds(
        lambda m, b: CONFORMAL | {"avoid": "SpinalCord", "avoid_margin_mm": m, "block_avoided": b},
        st.floats(0, 20),
        st.booleans(),
    ),
)


@given(whole, st.integers(1, 5))
def test_without_phases_every_phase_is_planned_as_the_course(told: dict[str, Any], phase: int) -> None:
    technique = Technique(**told)
    assert technique.of_phase(phase) == technique


@given(whole, whole)
def test_a_phase_that_tells_all_is_what_it_tells(course: dict[str, Any], own: dict[str, Any]) -> None:
    technique = Technique(**course, phases=(PhaseTechnique(phase=2, **own),))
    made = technique.of_phase(2)
    for name, value in own.items():
        assert getattr(made, name) == value
    if course["kind"] != own["kind"]:
        collimator_deg = own.get("collimator_deg", course.get("collimator_deg", 0.0))
        assert made == Technique(**(own | {"collimator_deg": collimator_deg}))


@given(whole, whole)
def test_other_phases_stay_as_the_course(course: dict[str, Any], own: dict[str, Any]) -> None:
    technique = Technique(**course, phases=(PhaseTechnique(phase=2, **own),))
    assert technique.of_phase(1) == technique.of_phase(3) == Technique(**course)


@given(whole, whole, st.integers(1, 3))
def test_the_technique_of_a_phase_has_no_phases_of_its_own(
    course: dict[str, Any], own: dict[str, Any], phase: int
) -> None:
    made = Technique(**course, phases=(PhaseTechnique(phase=2, **own),)).of_phase(phase)
    assert made.phases == ()
    assert made.hand_over is None
    assert made.of_phase(phase) == made


def test_what_a_phase_does_not_tell_is_as_in_the_course() -> None:
    technique = Technique(
        **CONFORMAL,
        subfields=2,
        collimator_deg=90.0,
        machine="generic-6MV",
        phases=(PhaseTechnique(phase=2, arrangement="opposed-obliques", avoid="SpinalCord", avoid_margin_mm=5.0),),
    )
    assert technique.of_phase(2) == Technique(
        kind="3dcrt",
        arrangement="opposed-obliques",
        avoid="SpinalCord",
        avoid_margin_mm=5.0,
        aperture_margin_mm=7.0,
        subfields=2,
        collimator_deg=90.0,
        machine="generic-6MV",
    )


def test_angles_of_a_phase_replace_an_arrangement_and_what_it_avoids() -> None:
    technique = Technique(
        **CONFORMAL,
        avoid="SpinalCord",
        avoid_margin_mm=5.0,
        block_avoided=True,
        phases=(PhaseTechnique(phase=2, gantry_deg=(0.0, 100.0, 260.0)),),
    )
    second = technique.of_phase(2)
    assert second.gantry_angles_deg() == (0.0, 100.0, 260.0)
    assert (second.arrangement, second.avoid, second.block_avoided) == (None, None, False)
    assert second.aperture_margin_mm == 7.0


def test_another_kind_drops_what_only_the_first_has() -> None:
    technique = Technique(**CONFORMAL, subfields=3, phases=(PhaseTechnique(phase=2, kind="vmat", arcs=1),))
    assert technique.of_phase(2) == Technique(kind="vmat", arcs=1)


def test_even_beams_start_at_gantry_0() -> None:
    assert Technique(kind="3dcrt", beams=4, aperture_margin_mm=7.0).gantry_angles_deg() == (0.0, 90.0, 180.0, 270.0)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (CONFORMAL | {"arrangement": "five-field"}, "no beam arrangement 'five-field'; known are ap-pa, "),
        ({"kind": "3dcrt", "arrangement": "ap-pa"}, "aperture_margin_mm"),
        ({"kind": "3dcrt", "aperture_margin_mm": 7.0}, "one of 'arrangement'"),
        (CONFORMAL | {"beams": 4}, "one of 'arrangement'"),
        (CONFORMAL | {"aperture_margin_mm": -1.0}, "greater than or equal to 0"),
        (CONFORMAL | {"subfields": -1}, "greater than or equal to 0"),
        (CONFORMAL | {"avoid": "SpinalCord"}, "go together"),
        (CONFORMAL | {"avoid_margin_mm": 5.0}, "go together"),
        (CONFORMAL | {"block_avoided": True}, "closes the leaves over the organ of 'avoid', and none is given"),
        (IMRT | {"block_avoided": True}, "'block_avoided' goes with kind 3dcrt"),
        (CONFORMAL | {"arcs": 1}, "goes with kind vmat"),
        (CONFORMAL | {"delivery": "sliding-window"}, "'delivery' goes with kind imrt, not with 3dcrt"),
        (
            {"kind": "3dcrt", "beams": 4, "aperture_margin_mm": 7.0, "avoid": "SpinalCord", "avoid_margin_mm": 5.0},
            "'avoid' chooses among the angles of an 'arrangement'",
        ),
        (IMRT | {"arrangement": "ap-pa"}, "'arrangement' goes with kind 3dcrt, not with imrt"),
        (IMRT | {"subfields": 1}, "'subfields' goes with kind 3dcrt"),
        (IMRT | {"aperture_margin_mm": 7.0}, "'aperture_margin_mm' goes with kind 3dcrt"),
        (IMRT | {"gantry_deg": (0.0,)}, "either"),
        (VMAT | {"beams": 9}, "arcs have no 'beams'"),
        (VMAT | {"delivery": "sliding-window"}, "'delivery' goes with kind imrt"),
        (CONFORMAL | {"phases": (PhaseTechnique(phase=2, beams=4, gantry_deg=(0.0,)),)}, "phase 2: 3dcrt needs one of"),
        (CONFORMAL | {"phases": (PhaseTechnique(phase=2, kind="imrt"),)}, "phase 2: give either 'beams'"),
        (CONFORMAL | {"phases": (PhaseTechnique(phase=2, avoid="SpinalCord"),)}, "phase 2: 'avoid'"),
        (
            CONFORMAL | {"phases": (PhaseTechnique(phase=2, subfields=1), PhaseTechnique(phase=2, subfields=2))},
            "told twice",
        ),
    ],
)
def test_what_a_technique_cannot_mean_is_refused(told: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Technique(**told)
    assert says in str(caught.value)
