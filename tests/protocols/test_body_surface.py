"""Body surface area by a named formula (G-05)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.protocols.scores import BsaFormula, body_surface


def test_we_51_body_surface_of_170_cm_and_65_kg() -> None:
    mosteller, dubois = body_surface(170, 65, "mosteller"), body_surface(170, 65, "dubois")
    assert mosteller.bsa_m2 == pytest.approx(1.752, abs=5e-4)
    assert dubois.bsa_m2 == pytest.approx(1.754, abs=5e-4)
    assert (mosteller.formula, dubois.formula) == ("mosteller", "dubois")


@pytest.mark.parametrize("formula", ["mosteller", "dubois"])
@given(height=st.floats(130, 200), weight=st.floats(35, 120), more=st.floats(1, 20))
def test_body_surface_grows_with_height_and_weight(
    formula: BsaFormula, height: float, weight: float, more: float
) -> None:
    def area(height_cm: float, weight_kg: float) -> float:
        bsa_m2 = body_surface(height_cm, weight_kg, formula).bsa_m2
        assert bsa_m2 is not None
        assert 0.5 <= bsa_m2 <= 3.0
        return bsa_m2

    assert area(height, weight) < area(height + more, weight)
    assert area(height, weight) < area(height, weight + more)


def test_body_surface_is_unknown_without_height_or_weight_and_invalid_out_of_range() -> None:
    assert body_surface(None, None, "dubois").missing == ("height_cm", "weight_kg")
    assert body_surface(170, None, "dubois").bsa_m2 is None
    with pytest.raises(InputError, match="check the units"):
        body_surface(1.70, 65, "mosteller")
    with pytest.raises(InputError, match="check the units"):
        body_surface(200, 300, "mosteller")
    with pytest.raises(InputError, match="one of"):
        body_surface(170, 65, "haycock")  # type: ignore[arg-type]
    for bad in (0, -1, float("nan")):
        with pytest.raises(InputError, match="weight"):
            body_surface(None, bad, "dubois")
