"""Limits over all courses and alpha/beta by organ: every number of the reference, with what it belongs to."""

from __future__ import annotations

import pytest

from tailort.errors import InputError
from tailort.radiobiology import CumulativeLimit, alpha_beta, alpha_betas, limit_sets, limits_of, recovery

MARKS = {"seed", "lit-verified", "lit-recalled", "ambiguous", "derived"}


def told(organ: str) -> dict[str, list[tuple[str, str, float]]]:
    found: dict[str, list[tuple[str, str, float]]] = {}
    for each, limit in limits_of(organ):
        found.setdefault(each.id, []).append((limit.metric, limit.operator, limit.limit_gy))
    return found


def test_every_number_has_a_source_a_mark_and_a_rule() -> None:
    for each in limit_sets():
        assert all((each.title, each.text, each.source))
        for limit in each.limits:
            assert limit.mark in MARKS
            assert limit.rules
    for value in alpha_betas():
        assert value.mark in MARKS
        assert value.source
        assert value.rules


def test_every_set_names_the_recovery_that_it_goes_with() -> None:
    assert {each.id: each.recovery for each in limit_sets()} == {
        "koide": "none", "koide-observed": "none", "hytec": "none", "michigan": "michigan", "surveys": "none",
        "carotid": "none",
    }  # fmt: skip


def test_ko_90_and_rb_132_to_133_the_oesophagus_has_three_sets_side_by_side() -> None:
    assert told("Esophagus") == {
        "koide": [("Max[Gy]", "<", 203), ("D0.035cc[Gy]", "<", 187), ("D1cc[Gy]", "<", 167)],
        "michigan": [("Max[Gy]", "<=", 70)],
        "surveys": [("Max[Gy]", "<=", 75)],
    }


def test_we_35_the_limits_of_the_study_as_eqd2() -> None:
    (koide,) = [each for each in limit_sets() if each.id == "koide"]
    assert [limit.eqd2_gy for limit in koide.limits] == pytest.approx([121.8, 112.2, 100.2], abs=0.05)


def test_we_36_its_limits_are_strict() -> None:
    _, limit = limits_of("Esophagus")[0]
    assert not limit.holds(203.0)
    assert limit.holds(202.9)


def test_rb_131_the_limit_of_hytec_includes_its_value() -> None:
    (limit,) = [limit for each, limit in limits_of("ThecalSac") if each.id == "hytec"]
    assert limit.holds(70.0)
    assert not limit.holds(70.01)
    assert limit.eqd2_gy == 70.0


def test_ko_91_observed_values_are_no_limits() -> None:
    (observed,) = [each for each in limit_sets() if not each.is_limit]
    assert observed.id == "koide-observed"
    values = {limit.organs[0]: (limit.metric, limit.limit_gy, limit.alpha_beta_gy) for limit in observed.limits}
    assert values == {
        "SpinalCord": ("D0.035cc[Gy]", 122, 2), "Pharynx": ("Max[Gy]", 200, 3), "Trachea": ("Max[Gy]", 197, 3),
        "A_Carotid": ("Max[Gy]", 197, 3), "A_Aorta": ("Max[Gy]", 373, 3),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("organ", "limit_gy"),
    [
        ("Esophagus", 70), ("Trachea", 70), ("Bronchus_Main_L", 70), ("GreatVes", 100), ("A_Aorta", 100), ("Heart", 70),
        ("BrachialPlex_R", 70), ("Brainstem", 64), ("Stomach", 54), ("Duodenum", 54), ("Bowel_Small", 54),
        ("Colon", 70), ("Rectum", 80), ("Bladder", 85), ("CaudaEquina", 60), ("SacralPlex", 70), ("OpticChiasm", 54),
        ("Cochlea_L", 45), ("Retina_R", 50),
    ],
)  # fmt: skip
def test_rb_132_michigan_by_organ_each_with_a_discount_of_the_same_source(organ: str, limit_gy: float) -> None:
    assert told(organ)["michigan"] == [("Max[Gy]", "<=", limit_gy)]
    assert recovery("michigan").discount(organ, 12) is not None


def test_rb_132_the_cord_has_more_close_to_the_target() -> None:
    found = [(limit.limit_gy, limit.condition) for each, limit in limits_of("SpinalCord") if each.id == "michigan"]
    assert found == [(50, ""), (55, "the cord lies less than 2 mm from the target")]


@pytest.mark.parametrize(
    ("organ", "low", "high", "ab"),
    [("SpinalCord", 60, 67.5, 2), ("Esophagus", 75, 100, 3), ("Trachea", 80, 105, 3), ("Bronchus_Main", 80, 105, 3),
     ("A_Aorta", 115, 120, 3), ("BrachialPlex_L", 80, 95, 3)],
)  # fmt: skip
def test_rb_133_of_ranges_the_lower_end_is_the_limit(organ: str, low: float, high: float, ab: float) -> None:
    (limit,) = [limit for each, limit in limits_of(organ) if each.id == "surveys"]
    assert (limit.limit_gy, limit.upper_gy, limit.alpha_beta_gy) == (low, high, ab)


def test_rb_134_the_carotid_artery() -> None:
    assert told("A_Carotid_L")["carotid"] == [("Max[Gy]", "<=", 120)]


def test_an_organ_in_no_set_has_no_limit_and_a_prv_has_not_that_of_its_organ() -> None:
    assert limits_of("Larynx") == limits_of("SpinalCord_PRV") == ()
    assert limits_of("ESOPHAGUS") == limits_of("Esophagus") != ()


@pytest.mark.parametrize(
    ("organ", "value", "mark"),
    [
        ("SpinalCord", 2, "seed"), ("SpinalCord_PRV", 2, "seed"), ("Esophagus", 3, "seed"), ("Pharynx", 3, "seed"),
        ("Trachea", 3, "seed"), ("A_Carotid_R", 3, "seed"), ("A_Aorta", 3, "seed"), ("Lungs-GTV", 3, "lit-recalled"),
        ("kidney_l", 2.5, "lit-recalled"), ("Stomach^Conduit", 3, "lit-recalled"), ("VB_T05", 3, "lit-recalled"),
        ("Skin", 3, "lit-recalled"), ("Bowel", 3, "lit-recalled"),
    ],
)  # fmt: skip
def test_rb_86_to_88_alpha_beta_of_late_effects(organ: str, value: float, mark: str) -> None:
    found = alpha_beta(organ)
    assert found is not None
    assert (found.value_gy, found.mark) == (value, mark)


@pytest.mark.parametrize(
    ("organ", "range_gy"),
    [("Lungs", (3, 4)), ("BrachialPlex_L", (2, 3)), ("Liver", (2.5, 3))],
)
def test_rb_88_of_a_range_the_lower_end_is_taken(organ: str, range_gy: tuple[float, float]) -> None:
    found = alpha_beta(organ)
    assert found is not None
    assert (found.value_gy, found.range_gy) == (range_gy[0], range_gy)


def test_rb_88_of_the_heart_the_upper_end_is_taken_as_in_the_protocols_and_told() -> None:
    heart = alpha_beta("Heart")
    assert heart is not None
    assert (heart.value_gy, heart.range_gy) == (3, (2.5, 3))
    assert "as in the protocols" in heart.note


def test_rb_85_and_rb_89_other_effects_have_their_own_alpha_beta() -> None:
    assert [alpha_beta(*key).value_gy for key in (("Esophagus", "acute"), ("Bowel", "acute"))] == [10, 7]
    assert alpha_beta("GTVp", "tumour").value_gy == alpha_beta("PTV_2400", "tumour").value_gy == 10


def test_what_the_reference_does_not_tell_is_unknown() -> None:
    assert alpha_beta("Larynx") is None
    assert alpha_beta("SpinalCord", "acute") is None
    # The carotid limit is recalled without an alpha/beta.
    (limit,) = [limit for each, limit in limits_of("A_Carotid_L") if each.id == "carotid"]
    assert limit.alpha_beta_gy is None


def test_no_organ_has_two_values_of_one_effect() -> None:
    named = [(organ, value.effect) for value in alpha_betas() for organ in value.organs]
    assert len(named) == len(set(named))


@pytest.mark.parametrize(
    "wrong", [{"operator": ">="}, {"limit_gy": 0.0}, {"quantity": "physical"}, {"upper_gy": 60.0}, {"metric": "Dmax"}]
)
def test_a_limit_that_makes_no_sense_is_refused(wrong) -> None:
    right = {"organs": ("Heart",), "metric": "Max[Gy]", "operator": "<=", "limit_gy": 70.0, "upper_gy": None,
             "quantity": "EQD2", "alpha_beta_gy": None, "mark": "lit-recalled", "rules": ("RB-132",)}  # fmt: skip
    with pytest.raises(InputError):
        CumulativeLimit(**(right | wrong))
