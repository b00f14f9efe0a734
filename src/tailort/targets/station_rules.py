"""Nodal stations of the oesophagus by name: what each is called, what borders it, what it is constructed from.

References
----------
Rice, Ishwaran, Ferguson, Blackstone, Goldstraw 2017, doi:10.1016/j.jtho.2016.10.016 (stations and their borders).
"""

from __future__ import annotations

from dataclasses import dataclass

from tailort.errors import InputError


@dataclass(frozen=True)
class StationRule:
    """What a station is.

    Parameters
    ----------
    title, rule : str
        Its name, and the id of the definition.
    names : tuple of str
        Names under which it may be drawn; the first one is given to what is constructed.
    upper, lower : tuple of str
        Landmarks that border it; of several the higher one above, and of several below the first that is found.
    needs : tuple of str
        Structures without which it cannot be constructed.
    constructed : bool
        Whether it ever is.
    """

    title: str
    rule: str
    names: tuple[str, ...]
    upper: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    constructed: bool = True


_APICES = ("lung-apex-left", "lung-apex-right")
_VEIN = "inferior-pulmonary-vein"
STATIONS: dict[str, StationRule] = {
    "supraclavicular_L": StationRule(
        "left supraclavicular", "NM-97", ("LN_Sclav_L",), constructed=False
    ),
    "supraclavicular_R": StationRule(
        "right supraclavicular", "NM-97", ("LN_Sclav_R",), constructed=False
    ),
    "1L": StationRule(
        "left lower cervical paratracheal", "NM-81", ("LN_1L",), ("cricoid-lower-edge",), ("lung-apex-left",),
        ("Trachea", "Glnd_Thyroid"),
    ),
    "1R": StationRule(
        "right lower cervical paratracheal", "NM-81", ("LN_1R",), ("cricoid-lower-edge",), ("lung-apex-right",),
        ("Trachea", "Glnd_Thyroid"),
    ),
    "2L": StationRule(
        "left upper paratracheal", "NM-83", ("LN_2L",), ("lung-apex-left",), ("aortic-arch-top",), ("Trachea",)
    ),
    "2R": StationRule(
        "right upper paratracheal", "NM-82", ("LN_2R",), ("lung-apex-right",), ("brachiocephalic-lower-margin",),
        ("Trachea",),
    ),
    "4L": StationRule("left lower paratracheal", "NM-85", ("LN_4L",), ("aortic-arch-top",), ("carina",), ("Trachea",)),
    "4R": StationRule(
        "right lower paratracheal", "NM-84", ("LN_4R",), ("brachiocephalic-lower-margin",), ("azygos-upper-border",),
        ("Trachea",),
    ),
    "7": StationRule("subcarinal", "NM-86", ("LN_7",), ("carina",), (), ("Trachea", "Bronchus_Main")),
    "8U": StationRule("upper thoracic para-oesophageal", "NM-87", ("LN_8U",), _APICES, ("carina",)),
    "8M": StationRule("middle thoracic para-oesophageal", "NM-88", ("LN_8M",), ("carina",), (_VEIN,)),
    "8Lo": StationRule(
        "lower thoracic para-oesophageal", "NM-89", ("LN_8Lo",), (_VEIN,), ("oesophagogastric-junction", "hiatus")
    ),
    "9L": StationRule(
        "left pulmonary ligament", "NM-90", ("LN_9L",), (_VEIN,), ("hiatus",), ("V_Pulmonary", "Lung_L")
    ),
    "9R": StationRule(
        "right pulmonary ligament", "NM-90", ("LN_9R",), (_VEIN,), ("hiatus",), ("V_Pulmonary", "Lung_R")
    ),
    "15": StationRule("diaphragmatic", "NM-91", ("LN_15",), ("hiatus",), ("coeliac-axis",), ("A_Aorta",)),
    "16": StationRule("paracardial", "NM-92", ("LN_16",), ("hiatus",)),
    "17": StationRule("left gastric", "NM-93", ("LN_17",), needs=("A_Gastric_L",)),
    "18": StationRule("common hepatic", "NM-94", ("LN_18",), needs=("A_Hepatic",)),
    "19": StationRule("splenic", "NM-95", ("LN_19",), needs=("A_Splenic",)),
    "20": StationRule("coeliac", "NM-96", ("LN_Celiac", "LN_20"), needs=("A_Celiac", "A_Aorta")),
}  # fmt: skip

WHOLE = {
    "1": ("1L", "1R"), "2": ("2L", "2R"), "4": ("4L", "4R"), "9": ("9L", "9R"),
    "supraclavicular": ("supraclavicular_L", "supraclavicular_R"), "8M/L": ("8M", "8Lo"),
}  # fmt: skip
"""Stations of two parts; a contour of the whole is taken for both."""


def stations_named(name: str) -> tuple[str, ...]:
    """Return the stations (keys of `STATIONS`) that a name of AJCC, 8th edition, means.

    Raises
    ------
    InputError
        When the name is not clear, or one of another system of numbers.
    """
    if name in STATIONS:
        return (name,)
    if name in WHOLE:
        return WHOLE[name]
    if name in ("8", "8L"):
        other = ", or the left side" if name == "8L" else ""
        raise InputError(f"station '{name}' is not clear: expected 8U, 8M or 8Lo (8L could be the lower part{other})")
    number = name.rstrip("LR")
    if number.isdigit() and (int(number) in (3, 5, 6, *range(10, 15)) or int(number) > 20):
        raise InputError(
            f"station '{name}' is a number of the lung (IASLC) or of the Japanese classification; expected stations of "
            f"AJCC, 8th edition: {', '.join((*STATIONS, *WHOLE))}"
        )
    raise InputError(f"there is no station '{name}'; known are: {', '.join((*STATIONS, *WHOLE))}")
