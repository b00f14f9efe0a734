"""Volumes of the patient: organs and targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, MissingStructureError

ROLES = (
    "GTV", "CTV", "ITV", "PTV", "ORGAN", "AVOIDANCE", "EXTERNAL", "BOLUS", "SUPPORT", "FIXATION", "MARKER",
    "DOSE_REGION", "CONTROL", "CONTRAST_AGENT", "CAVITY", "TREATED_VOLUME", "IRRAD_VOLUME", "REGISTRATION",
    "ISOCENTER", "BRACHY_CHANNEL", "BRACHY_ACCESSORY", "BRACHY_SRC_APP", "BRACHY_CHNL_SHLD", "OTHER",
)  # fmt: skip

Contour = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Structure:
    """A volume drawn as closed planar contours.

    Parameters
    ----------
    name : str
        TG-263 name.
    role : str
        DICOM RT ROI Interpreted Type, one of `ROLES`; "OTHER" when the file says nothing.
    contours : tuple of (n, 3) float
        Closed polygons, each in one transverse plane, LPS mm; inner contours are holes (even-odd); the first
        point is not repeated.
    frame_of_reference : str
        DICOM Frame of Reference UID.
    original_name : str
        The name in the file it came from.
    made_by : tuple of str
        How it was made, step by step; empty when it was read.
    colour : (3,) int or None
        Red, green, blue, 0 to 255.
    """

    name: str
    role: str
    contours: tuple[Contour, ...]
    frame_of_reference: str
    original_name: str = ""
    made_by: tuple[str, ...] = ()
    colour: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise GeometryError("a structure needs a name")
        if self.role not in ROLES:
            raise GeometryError(
                f"structure '{self.name}' has the unknown role '{self.role}'; known are {', '.join(ROLES)}"
            )
        kept = []
        for contour in self.contours:
            points = np.array(contour, dtype=np.float64)
            if points.ndim != 2 or points.shape[1] != 3 or len(points) < 3 or not np.isfinite(points).all():
                raise GeometryError(
                    f"structure '{self.name}' has a contour that is not a closed polygon of at least 3 finite points"
                )
            if np.ptp(points[:, 2]) > 1e-3:
                raise GeometryError(
                    f"structure '{self.name}' has a contour that is not in a transverse plane "
                    f"(z from {points[:, 2].min():g} to {points[:, 2].max():g} mm)"
                )
            points.setflags(write=False)
            kept.append(points)
        object.__setattr__(self, "contours", tuple(kept))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is drawn."""
        return not self.contours

    @property
    def slice_positions_mm(self) -> NDArray[np.float64]:
        """The z of the planes that have contours, ascending, LPS mm."""
        return np.unique(np.round([c[0, 2] for c in self.contours], 4))

    def bounds_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest x, y, z of the contour points, LPS mm."""
        if self.is_empty:
            raise GeometryError(f"structure '{self.name}' has no contours, so it has no extent")
        points = np.concatenate(self.contours)
        return points.min(axis=0), points.max(axis=0)


@dataclass(frozen=True)
class Point:
    """A point that was drawn, such as an anatomical landmark.

    Parameters
    ----------
    name : str
        As in the file, or its TG-263 name.
    position_mm : (3,) float
        LPS mm.
    frame_of_reference : str
        DICOM Frame of Reference UID.
    """

    name: str
    position_mm: tuple[float, float, float]
    frame_of_reference: str

    def __post_init__(self) -> None:
        if not self.name:
            raise GeometryError("a point needs a name")
        if len(self.position_mm) != 3 or not np.isfinite(self.position_mm).all():
            raise GeometryError(f"point '{self.name}' needs three finite coordinates; found {self.position_mm}")


@dataclass(frozen=True, eq=False)
class StructureSet:
    """Structures in one frame of reference, each under its own name (case does not count).

    Parameters
    ----------
    structures : tuple of Structure
        In the order of the file.
    frame_of_reference : str
        DICOM Frame of Reference UID.
    label : str
        Structure set label.
    sop_instance_uid, series_uid : str
        UID of the RTSTRUCT it came from and of the image series it was drawn on; empty when made here.
    points : tuple of Point
        Points that were drawn, each under its own name.
    """

    structures: tuple[Structure, ...]
    frame_of_reference: str
    label: str = ""
    sop_instance_uid: str = ""
    series_uid: str = ""
    points: tuple[Point, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "structures", tuple(self.structures))
        object.__setattr__(self, "points", tuple(self.points))
        kinds: tuple[tuple[str, tuple[Structure | Point, ...]], ...] = (
            ("structure", self.structures),
            ("point", self.points),
        )
        for kind, drawn in kinds:
            seen: set[str] = set()
            for one in drawn:
                if one.frame_of_reference != self.frame_of_reference:
                    raise GeometryError(
                        f"{kind} '{one.name}' is in frame of reference {one.frame_of_reference}, its structure set in "
                        f"{self.frame_of_reference}: give a transform between them or the matching file"
                    )
                if one.name.lower() in seen:
                    raise GeometryError(f"two {kind}s are named '{one.name}': rename one of them")
                seen.add(one.name.lower())

    def __iter__(self) -> Iterator[Structure]:
        return iter(self.structures)

    def __len__(self) -> int:
        return len(self.structures)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(s.name.lower() == name.lower() for s in self.structures)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the file."""
        return tuple(s.name for s in self.structures)

    def __getitem__(self, name: str) -> Structure:
        for structure in self.structures:
            if structure.name.lower() == name.lower():
                return structure
        have = ", ".join(self.names) or "none"
        raise MissingStructureError(
            f"structure '{name}' is needed and not in the case, which has: {have}; "
            "draw it, or map its name with --names FILE"
        )

    def find(self, name: str) -> Structure | None:
        """Return the structure of this name, or None."""
        return next((s for s in self.structures if s.name.lower() == name.lower()), None)

    def with_structures(self, *new: Structure) -> StructureSet:
        """Return a set in which `new` replaces structures of the same name and follows the others."""
        names = {s.name.lower() for s in new}
        kept = tuple(s for s in self.structures if s.name.lower() not in names)
        return replace(self, structures=(*kept, *new))
