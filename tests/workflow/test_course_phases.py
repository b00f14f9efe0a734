"""What is asked of one phase of a course, and the dose of all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.geometry import Grid, Image
from tailort.patient import Constraint, Dose, Normalisation, Prescription
from tailort.protocols import Technique
from tailort.radiobiology import eqd2
from tailort.workflow.phases import Phase, course_dose, phase_label

GRID = Grid.axial((2, 2, 2), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), "1.2.3")


def dose(values_gy: float | list[float], fractions: int) -> Dose:
    values = np.broadcast_to(np.asarray(values_gy, dtype=np.float32), 8).reshape(2, 2, 2)
    return Dose(Image(GRID, values, "Gy"), "physical", "course", fractions, None, "test")


def phase(share: float, constraints: tuple[Constraint, ...], earlier: tuple[Dose, ...] = ()) -> Phase:
    prescription = Prescription("PTV", 50.4, 28, Normalisation("coverage", metric="D95%[Gy]"))
    return Phase(1, "x", Technique(kind="imrt", beams=5), (prescription,), constraints, earlier, share, ("PTV",))


CORD = Constraint("SpinalCord", "Max[Gy]", "<", 45.0, "hard", "test")
LUNGS = Constraint("Lungs", "V20Gy[%]", "<=", 28.0, "goal", "test")
TARGET = Constraint("PTV", "D95%[Gy]", ">=", 64.8, "goal", "test")


def test_the_last_phase_is_asked_for_everything() -> None:
    asked = (CORD, LUNGS, TARGET)
    assert phase(1.0, asked).limits_so_far() == asked


@given(st.floats(0.05, 0.95))
def test_an_earlier_phase_may_use_its_part_of_each_limit(share: float) -> None:
    cord, lungs = phase(share, (CORD, LUNGS, TARGET)).limits_so_far()
    assert cord.limit == pytest.approx(45.0 * share)
    assert lungs.limit == 28.0
    assert lungs.metric == f"V{round(20 * share, 4):g}Gy[%]"


def test_what_a_target_must_reach_is_not_asked_before_the_last_phase() -> None:
    assert phase(0.5, (TARGET,)).limits_so_far() == ()


def test_the_course_is_the_sum_of_its_phases_and_has_no_single_number_of_fractions() -> None:
    both = course_dose([dose(50.4, 28), dose(14.4, 8)])
    np.testing.assert_allclose(both.image.values, 64.8, rtol=1e-6)
    assert both.fractions is None
    with pytest.raises(InputError, match="fractions"):
        both.known_fractions()


def test_a_course_of_one_phase_is_that_phase() -> None:
    only = dose(60.0, 30)
    assert course_dose([only]) is only


def test_earlier_phases_count_in_eqd2_with_their_own_fractions() -> None:
    limit = replace(CORD, quantity="EQD2", alpha_beta_gy=2.0)
    earlier = (dose(30.0, 10), dose(18.0, 10))
    found = phase(1.0, (limit,), earlier).earlier_gy(limit, np.arange(8, dtype=np.uint32))
    # 30 Gy in 10 at alpha/beta 2 Gy is 37.5 Gy EQD2, 18 Gy in 10 is 17.1 Gy: (3 + 2)/4 and (1.8 + 2)/4 of the dose.
    np.testing.assert_allclose(found, 37.5 + 17.1, rtol=1e-6)
    # Not the same as all of it in twenty fractions.
    assert abs(float(eqd2(np.array([48.0]), 20, 2.0)[0]) - found[0]) > 1.0


def test_plans_of_phases_are_named_and_fit_into_dicom() -> None:
    assert phase_label("smart-imrt", 1, 1) == "smart-imrt"
    assert phase_label("a-long-protocol-name", 12, 13).endswith("ph 12")
    assert len(phase_label("a-long-protocol-name", 3, 3)) <= 16
