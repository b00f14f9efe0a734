"""Records refuse what cannot be and add only what can be added."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import GeometryError, InputError, MissingStructureError
from tailort.geometry import Grid, Image
from tailort.patient import (
    Beam,
    Beamlets,
    BeamSetup,
    Constraint,
    ControlPoint,
    Dose,
    Influence,
    Metric,
    Normalisation,
    Plan,
    Point,
    Prescription,
    Structure,
    StructureSet,
)

GRID = Grid.axial((2, 3, 4), (3, 2, 1), (0, 0, 0), "1.2.3")
SQUARE = np.array([[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]], dtype=float)
D95 = Normalisation("coverage", metric="D95%[Gy]")


def dose(value: float, **changes: object) -> Dose:
    fields: dict[str, object] = {
        "image": Image(GRID, np.full(GRID.shape, value), "Gy"),
        "quantity": "physical",
        "per": "course",
        "fractions": 30,
        "alpha_beta_gy": None,
        "engine": "test",
    }
    return Dose(**{**fields, **changes})  # type: ignore[arg-type]


@given(st.floats(0, 100), st.floats(0, 100))
def test_doses_of_one_fractionation_add_in_any_order(a: float, b: float) -> None:
    one, other = dose(a) + dose(b), dose(b) + dose(a)
    assert np.array_equal(one.image.values, other.image.values)
    assert one.image.values[0, 0, 0] == a + b


@pytest.mark.parametrize(
    "changes",
    [
        {"fractions": 25},
        {"fractions": None},
        {"per": "fraction"},
        {"quantity": "BED", "alpha_beta_gy": 3.0},
    ],
)
def test_doses_of_unlike_meaning_refuse_to_be_added(changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="not the same quantity"):
        dose(1.0) + dose(1.0, **changes)


def test_bed_of_unlike_alpha_beta_refuses_to_be_added() -> None:
    with pytest.raises(InputError, match="not the same quantity"):
        dose(1.0, quantity="BED", alpha_beta_gy=2.0) + dose(1.0, quantity="BED", alpha_beta_gy=3.0)


def test_physical_doses_of_unknown_fractionation_refuse_to_be_added() -> None:
    with pytest.raises(InputError, match="not the same quantity"):
        dose(1.0, fractions=None) + dose(1.0, fractions=None)


def test_bed_adds_over_courses_of_other_fractionation() -> None:
    total = dose(100.0, quantity="BED", alpha_beta_gy=2.0) + dose(50.0, quantity="BED", alpha_beta_gy=2.0, fractions=2)
    assert total.image.values.max() == 150.0
    assert total.fractions is None


def test_the_course_is_the_fraction_times_their_number() -> None:
    assert dose(2.0, per="fraction").per_course().image.values.max() == 60.0
    with pytest.raises(InputError, match="number of fractions"):
        dose(2.0, per="fraction", fractions=None).per_course()


def test_bed_without_alpha_beta_is_refused() -> None:
    with pytest.raises(InputError, match="alpha/beta"):
        dose(1.0, quantity="BED")


@pytest.mark.parametrize(
    "text",
    ["Max[Gy]", "Mean[Gy]", "D95%[Gy]", "D0.035cc[Gy]", "V20Gy[%]", "V20Gy[cc]", "CV20Gy[cc]", "V95%[%]", "Volume[cc]"],
)
def test_a_metric_prints_as_it_was_read(text: str) -> None:
    assert str(Metric.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["V-5Gy[%]", "D95%", "D95Gy[Gy]", "V20cc[%]", "Foo[Gy]", "D101%[Gy]", "V20Gy[Gy]", "Max[cc]"]
)
def test_what_is_not_a_metric_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Metric.parse(text)


@given(st.floats(0, 200), st.floats(0, 200), st.sampled_from(["<", "<=", ">", ">="]))
def test_a_limit_keeps_its_printed_operator(value: float, limit: float, operator: str) -> None:
    constraint = Constraint("Heart", "Mean[Gy]", operator, limit, "goal", "test")  # type: ignore[arg-type]
    assert constraint.holds(limit) == ("=" in operator)
    if value != limit:
        assert constraint.holds(value) == ((value < limit) == operator.startswith("<"))


@pytest.mark.parametrize(("dose_gy", "fractions"), [(0.0, 30), (-1.0, 30), (201.0, 30), (60.0, 0)])
def test_a_prescription_that_cannot_be_is_refused(dose_gy: float, fractions: int) -> None:
    with pytest.raises(InputError):
        Prescription("PTV", dose_gy, fractions, D95)


def test_a_structure_is_found_whatever_its_case() -> None:
    heart = Structure("Heart", "ORGAN", (SQUARE,), "1.2.3")
    assert StructureSet((heart,), "1.2.3")["hEART"] is heart


def test_a_missing_structure_lists_what_is_there() -> None:
    drawn = StructureSet((Structure("Heart", "ORGAN", (SQUARE,), "1.2.3"),), "1.2.3")
    with pytest.raises(MissingStructureError, match="Heart"):
        drawn["SpinalCord"]


def test_two_structures_of_one_name_are_refused() -> None:
    twice = tuple(Structure(name, "ORGAN", (SQUARE,), "1.2.3") for name in ("Heart", "HEART"))
    with pytest.raises(GeometryError, match="two structures"):
        StructureSet(twice, "1.2.3")


def test_structures_of_another_frame_are_refused() -> None:
    with pytest.raises(GeometryError, match="frame of reference"):
        StructureSet((Structure("Heart", "ORGAN", (SQUARE,), "9.9"),), "1.2.3")


def test_an_oblique_contour_is_refused() -> None:
    tilted = SQUARE + np.array([[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1]])
    with pytest.raises(GeometryError, match="transverse"):
        Structure("Heart", "ORGAN", (tilted,), "1.2.3")


def point(mu: float, left: float = -10.0, right: float = 10.0) -> ControlPoint:
    return ControlPoint(mu, 0.0, 0.0, 0.0, (-50, 50), (-50, 50), np.array([[left, left], [right, right]]))


def beam(*points: ControlPoint) -> Beam:
    return Beam("A", 1, "m", 6.0, True, (0, 0, 0), (-5.0, 0.0, 5.0), points)


def test_segments_are_the_steps_in_which_mu_are_given() -> None:
    made = beam(point(0), point(10), point(10, -5, 5), point(25, -5, 5))
    steps = list(made.segments())
    assert [mu for mu, _ in steps] == [10, 15]
    assert [float(at.leaves_mm[1, 0]) for _, at in steps if at.leaves_mm is not None] == [10.0, 5.0]


@pytest.mark.parametrize("mus", [(5, 10), (0, 10, 5), (0,)])
def test_mu_start_at_zero_and_never_fall(mus: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="MU"):
        beam(*(point(mu) for mu in mus))


def test_overlapping_leaves_are_refused() -> None:
    with pytest.raises(InputError, match="overlaps"):
        point(0, 5.0, -5.0)


def test_a_plan_of_other_fractions_than_its_prescription_is_refused() -> None:
    with pytest.raises(InputError, match="fractions"):
        Plan("P", (), (Prescription("PTV", 60, 30, D95),), 25, "HFS", "1.2.3")


def influence(seed: int) -> tuple[Influence, np.ndarray]:
    generator = np.random.default_rng(seed)
    dense = generator.random((24, 5)) * (generator.random((24, 5)) < 0.4)
    rows = [np.flatnonzero(row) for row in dense]
    beamlets = Beamlets(np.zeros(5, np.int32), np.zeros(5), np.zeros(5), 5.0, 5.0, (BeamSetup("A", 1, (0, 0, 0), 0.0),))
    sparse = Influence(
        np.concatenate([dense[r, c] for r, c in enumerate(rows)]).astype(np.float32),
        np.concatenate(rows).astype(np.uint32),
        np.concatenate([[0], np.cumsum([len(c) for c in rows])]).astype(np.int64),
        GRID,
        np.arange(24, dtype=np.uint32),
        beamlets,
        "test",
    )
    return sparse, dense.astype(np.float32).astype(float)


@given(st.integers(0, 1000))
def test_the_influence_is_the_matrix_and_its_transpose(seed: int) -> None:
    sparse, dense = influence(seed)
    generator = np.random.default_rng(seed + 1)
    weights, slopes = generator.random(5), generator.normal(size=24)
    assert np.allclose(sparse.dose(weights), dense @ weights)
    assert np.allclose(sparse.gradient(slopes), dense.T @ slopes)


def test_records_cannot_be_written_to() -> None:
    image = Image(GRID, np.zeros(GRID.shape), "Gy")
    with pytest.raises(ValueError, match="read-only"):
        image.values[0, 0, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        GRID.affine[0, 0] = 2.0


def test_a_point_needs_a_name_and_three_finite_coordinates() -> None:
    for name, at in (("", (0.0, 0.0, 0.0)), ("Carina", (0.0, 0.0)), ("Carina", (0.0, 0.0, float("nan")))):
        with pytest.raises(GeometryError, match="needs"):
            Point(name, at, "1.2.3")  # type: ignore[arg-type]


def test_points_of_a_structure_set_have_names_of_their_own_and_share_its_frame() -> None:
    carina = Point("Carina", (0.0, 0.0, 5.0), "1.2.3")
    kept = StructureSet((), "1.2.3", points=(carina,)).with_structures(Structure("Heart", "ORGAN", (SQUARE,), "1.2.3"))
    assert kept.points == (carina,)
    with pytest.raises(GeometryError, match="two points are named 'CARINA'"):
        StructureSet((), "1.2.3", points=(carina, Point("CARINA", (0.0, 0.0, 1.0), "1.2.3")))
    with pytest.raises(GeometryError, match=r"point 'Carina' is in frame of reference 1\.2\.3"):
        StructureSet((), "9.9", points=(carina,))
