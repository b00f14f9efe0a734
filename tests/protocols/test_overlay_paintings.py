"""An overlay paints a dose with a range and a signature and tells what follows; the packaged one is a demonstration."""

from __future__ import annotations

from pathlib import Path

import pytest
from site_overlays import laid

from tailort.errors import ProtocolError
from tailort.protocols import load
from tailort.protocols.reading import available, demonstrations

PAINTED = "{of: [GTV], image: fdg-suv, most_gy: 72, map: linear, low: 0.25, high: 1.0, percentile: 95}"
PAINTING = f"""
paintings:
  - target: PTV1
    was: 60
    renamed: PTV_Paint
    dose_gy: 54
    signed_by: A physician
    why: Minutes of June
    loosens_hard_limit: true
    painted: {PAINTED}
"""


def test_a_painted_target_is_prescribed_its_least_dose_by_its_mean_until_the_image_is_known(tmp_path: Path) -> None:
    (own,) = (p for p in laid(tmp_path, PAINTING).prescriptions() if p.target == "PTV_Paint")
    assert (own.dose_gy, own.normalisation.metric, own.painted) == (54.0, "Mean[Gy]", None)


def test_the_target_is_renamed_wherever_it_stands(tmp_path: Path) -> None:
    protocol = laid(tmp_path, PAINTING)
    names = {c.structure for c in protocol.constraints()} | {s.name for s in protocol.target_steps()}
    assert "PTV1" not in names
    assert "PTV_Paint" in names


def test_who_signed_it_and_what_it_was_is_told(tmp_path: Path) -> None:
    (change,) = laid(tmp_path, PAINTING).overlays[0].changes
    assert change.was == "60 Gy everywhere"
    assert "54 to 72 Gy painted in GTV, linear in fdg-suv from 25 % to 100 % of its 95th percentile" in change.now
    assert "signed by A physician" in change.now
    assert change.loosens == "hard limit"


def test_a_lower_dose_under_a_hard_limit_in_percent_of_it_needs_the_key_for_that(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match=r"loosens a hard limit, PTV1 D98%\[Gy\] >= 95 % of PTV1 \(hard\)"):
        laid(tmp_path, PAINTING.replace("    loosens_hard_limit: true\n", ""))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("    signed_by: A physician\n", ""), "signed_by"),
        (("was: 60", "was: 66"), "the dose is 60 Gy, not 66"),
        (("target: PTV1", "target: PTV_7000"), "prescribes to 'PTV_7000' 0 times"),
        (("most_gy: 72", "most_gy: 40"), "painted from 'dose_gy' to a higher 'most_gy'; found 54 and 40 Gy"),
        (("low: 0.25", "low: 1.5"), "'low' must be below 'high'"),
        (("map: linear", "map: power"), "the map 'power' needs 'exponent'"),
        (("map: linear", "map: linear, steepness: 2.0"), "'steepness' goes with the map sigmoid"),
        (("map: linear", "map: linear, mean_gy: 80"), "'mean_gy' must lie from 54 to 72 Gy"),
        (("map: linear", "map: cubic"), "map"),
    ],
)  # fmt: skip
def test_what_cannot_be_painted_is_refused_in_words(tmp_path: Path, change: tuple[str, str], fault: str) -> None:
    with pytest.raises(ProtocolError, match=fault.replace("'", ".")):
        laid(tmp_path, PAINTING.replace(*change))


def test_the_demonstration_says_what_it_is_and_is_no_protocol_of_the_library() -> None:
    assert demonstrations() == ("painting-demo",)
    assert not set(demonstrations()) & set(available())
    demo = load("painting-demo")
    assert demo.title.startswith("DEMONSTRATION")
    (entry,) = demo.painted()
    assert entry.painted is not None
    assert (entry.dose_gy, entry.painted.most_gy, entry.fractions) == (54.0, 72.0, 30)
    assert demo.comparator() is None


def test_no_limit_of_an_organ_is_looser_in_the_demonstration() -> None:
    targets = ("PTV_Paint", "PTV_6600")
    was = [c for c in load("smart-imrt").constraints() if c.structure not in targets]
    now = [c for c in load("painting-demo").constraints() if c.structure not in targets]
    assert [(c.structure, c.metric, c.limit, c.priority) for c in was] == [
        (c.structure, c.metric, c.limit, c.priority) for c in now
    ]
