"""Names are mapped only where they are certain, and a user's table says where it is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.dicom import load_names
from tailort.dicom.names import map_names, standard_aliases
from tailort.errors import InputError


@pytest.mark.parametrize(
    ("alias", "standard"),
    [
        ("RightParotid", "Parotid_R"), ("LeftParotid", "Parotid_L"), ("BrainStem", "Brainstem"),
        ("Mandible", "Bone_Mandible"), ("BODY", "External"), ("Cord", "SpinalCord"), ("Oesophagus", "Esophagus"),
        ("lung l", "Lung_L"), ("LUNG_LEFT", "Lung_L"), ("Lung (R)", "Lung_R"), ("Lung_Total", "Lungs"),
        ("Th4", "VB_T04"), ("GTV-T", "GTVp"), ("PTVeval", "PTV_Eval"), ("Aorta", "A_Aorta"),
        ("ThoracicStomach", "Stomach"), ("Coeliac trunk", "A_Celiac"), ("spinal cord", "SpinalCord"),
        ("Coeliac nodes", "LN_Celiac"), ("Celiac LN", "LN_Celiac"), ("Left SCV", "LN_Sclav_L"),
    ],
)  # fmt: skip
def test_known_aliases_mean_their_tg263_name(alias, standard):
    assert map_names([alias])[0] == (standard,)


@pytest.mark.parametrize(
    "name",
    ["PTV70", "PTV_6600", "Lung", "8L", "Cord PRV 5", "_Heart", "zHeart", "Heart+5mm", "Lungs+GTV", "T1", "^Cord"],
)
def test_uncertain_names_pass_unchanged(name):
    assert map_names([name])[0] == (name,)


def test_standard_names_follow_the_rules_of_tg263():
    names = set(standard_aliases().values())
    assert all(len(name) <= 16 and " " not in name for name in names)
    assert len({name.lower() for name in names}) == len(names)


@given(st.lists(st.sampled_from(["Cord", "SpinalCord", "BODY", "External", "PTV70", "Heart", "x"]), unique=True))
def test_mapped_names_are_never_shared(originals):
    mapped, _ = map_names(originals)
    assert len({name.lower() for name in mapped}) == len(originals)


@given(st.sampled_from(sorted(set(standard_aliases().values()))))
def test_a_standard_name_means_itself(name):
    assert map_names([name])[0] == (name,)


def test_a_users_table_may_be_written_either_way(tmp_path):
    path = tmp_path / "names.yaml"
    path.write_text("H_total: Heart\nLung_L: [li lunge, 'Lunge li']\n")
    assert load_names(path) == {"H_total": "Heart", "li lunge": "Lung_L", "Lunge li": "Lung_L"}


def test_a_name_that_maps_nothing_is_noted():
    mapped, notes = map_names(["Heart"], {"Hart": "Heart"})
    assert mapped == ("Heart",)
    assert notes == ("names that are not in the case and so mapped nothing: Hart",)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: b\nc: [d\n", 3, ""),
        ("a: b\nc: 7\n", 2, "expected a name"),
        ("a: b\n\nc: [1]\n", 3, "not a pair of names"),
        ("a: b\nc:\n  x: y\n", 2, "expected a name"),
        ("Heart: [x]\nLiver: [x]\n", 2, "mapped to both 'Heart' and 'Liver'"),
        ("- a\n- b\n", 1, "expected lines"),
        ("a: b\na: c\n", 2, "duplicate"),
    ],
)
def test_errors_in_a_users_table_tell_file_and_line(tmp_path, text, line, what):
    path = tmp_path / "names.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_names(path)
    assert str(path) in str(caught.value)
    assert f"line {line}" in str(caught.value)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.yaml"):
        load_names(tmp_path / "none.yaml")
