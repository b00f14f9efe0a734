"""A virtual patient who changes during treatment: a planning CT and weekly scans under a known deformation.

The tumour shrinks towards its middle, fat goes with the weight, stomach, lungs, mediastinum and spine lie a little
otherwise every week, and so does the patient on the table. All tissue keeps a counterpart in every scan.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.geometry import Grid, Image
from tailort.patient import Case, Fact, Person, Scan, StructureSet
from tailort.phantom import cone_beam, ct, record, truth, warped
from tailort.phantom.anatomy import Anatomy
from tailort.phantom.earlier import BASE_MM, LINES_MM, SOLIDS_MM
from tailort.phantom.scans import scan_of, uid
from tailort.phantom.shapes import Shape
from tailort.phantom.shrinking import Rays
from tailort.phantom.virtual_patient import Size, VirtualPatient, structure_set, untreated, whole_grid
from tailort.phantom.weekly_map import (
    CONTOUR_FAT_MM,
    WEEKS,
    Change,
    Course,
    WeeklyMap,
    draw_course,
    fat_lost,
    rays_of_growths,
    weekly_map,
)

Float = NDArray[np.float64]
Modality = Literal["ct", "cbct"]
NAME = "adaptive"

# Rules RB-153 and RB-154, recalled from the literature: not the limit of any decision.
TUMOUR_TRIGGER_PERCENT, WEIGHT_TRIGGER_PERCENT, CONTOUR_TRIGGER_MM = 30.0, 10.0, 10.0
FRACTIONS_A_WEEK = 5
_BEGINS_AFTER_DAYS = 10
_SPARE_MM = 24.0
_CONTOUR_WITHIN_MM = 100.0
_TUMOUR_STEP_MM = 1.5


@dataclass(frozen=True, eq=False)
class WeeklyScan:
    """One week's scan with all that is known of it.

    Parameters
    ----------
    patient : AdaptivePatient
        Who was scanned.
    map : WeeklyMap
        Where every point of the planning CT lies now, and back.
    scan : Scan
        Image, with its own UIDs and frame of reference.
    modality : {"ct", "cbct"}
        A planning CT again, or the shorter, noisier one of a treatment machine with its own CT numbers.
    """

    patient: AdaptivePatient
    map: WeeklyMap
    scan: Scan
    modality: Modality

    @property
    def name(self) -> str:
        """For folders and people: "week3"."""
        return f"week{self.map.week}"

    @property
    def fractions_before(self) -> int:
        """Fractions that were given before this scan."""
        return FRACTIONS_A_WEEK * self.map.week

    @property
    def date(self) -> dt.date:
        """Day of the scan."""
        return self.patient.date_of(self.map.week)

    @property
    def person(self) -> Person:
        """Identity, with the study of that day."""
        planned = self.patient.planning.person
        study = f"{planned.study_id}W{self.map.week}"[:16]
        return replace(planned, study_date=self.date.strftime("%Y%m%d"), study_id=study)

    @property
    def weight_kg(self) -> float:
        """Of the body on that day."""
        return round(self.patient.weight_kg * self.patient.course.weight_share(self.map.week), 1)

    @property
    def record(self) -> record.Record:
        """What was measured on that day, as plain values."""
        scanned = "cone-beam CT" if self.modality == "cbct" else "repeated CT"
        facts = {"weight_kg": (self.weight_kg, "consultation"), "anatomical_images_in_course": (scanned, "treatment")}
        return {
            name: {"value": value, "source": source, "date": self.date.isoformat()}
            for name, (value, source) in facts.items()
        }

    @cached_property
    def structures(self) -> StructureSet:
        """True contours of every organ and of the tumour on the planes of the scan."""
        body, grid = self.patient.body, self.scan.image.grid
        planes, _, _ = grid.axes_mm()
        solids, blocks, base = self.patient.sampled
        lines = warped.draw(blocks, base, planes, self.map.to_planning, LINES_MM[self.patient.planning.size])
        drawn = dict(zip(solids, lines, strict=True))
        return structure_set(body, drawn, grid.frame_of_reference, self.scan.series_uid)

    @property
    def case(self) -> Case:
        """The week's scan with its true contours."""
        facts = {name: Fact(name, told["value"], told["source"], self.date) for name, told in self.record.items()}
        return Case(self.person, (self.scan,), self.structures, facts=facts)

    @cached_property
    def truth(self) -> dict[str, Any]:
        """The true map and what has changed since planning, as plain values."""
        return {
            "name": NAME,
            "seed": self.patient.planning.seed,
            "size": self.patient.planning.size,
            "change": self.patient.course.change,
            "week": self.map.week,
            "date": self.date.isoformat(),
            "modality": self.modality,
            "fractions_before": self.fractions_before,
            "weight_kg": self.weight_kg,
            **self._changes,
            "map": self.map.describe(),
            "pairs_mm": {
                name: {"planning": np.round(before, 3).tolist(), "week": np.round(now, 3).tolist()}
                for name, (before, now) in self.pairs.items()
            },
            "points_without_counterpart": "none: every point of the body lies in both scans",
            **({"ct_numbers": cone_beam.told()} if self.modality == "cbct" else {}),
        }

    @cached_property
    def _changes(self) -> dict[str, Any]:
        before = self.patient.volumes_cm3
        now = {
            name: before[name] * float(self.map.determinant(points).mean())
            for name, points in self.patient.growth_points.items()
        }
        tumour = 100.0 * (now["GTVp"] / before["GTVp"] - 1.0)
        weight = 100.0 * (self.weight_kg / self.patient.weight_kg - 1.0)
        contour = self.patient.contour_change_mm(self.map)
        return {
            "tumour_volume_cm3": {name: round(value, 4) for name, value in now.items()},
            "tumour_volume_change_percent": round(tumour, 2),
            "weight_change_percent": round(weight, 2),
            "contour_change_mm": round(contour, 2),
            "triggers": {
                "tumour volume": abs(tumour) > TUMOUR_TRIGGER_PERCENT,
                "weight": -weight > WEIGHT_TRIGGER_PERCENT,
                "contour": contour > CONTOUR_TRIGGER_MM,
            },
        }

    @property
    def fires(self) -> bool:
        """Whether any trigger of RB-153 and RB-154 fires, by truth alone."""
        return any(self._changes["triggers"].values())

    @cached_property
    def pairs(self) -> dict[str, tuple[Float, Float]]:
        """Points (n, 3) of planning and where they lie now, by organ, LPS mm of either frame."""
        return {name: (points, self.map.to_week(points)) for name, points in self.patient.landmarks.items()}


@dataclass(frozen=True, eq=False)
class AdaptivePatient:
    """A patient at planning and how he will change.

    Parameters
    ----------
    planning : VirtualPatient
        Planning CT, structures, record.
    course : Course
        How much changes until week 5.
    """

    planning: VirtualPatient
    course: Course

    @property
    def body(self) -> Anatomy:
        """The anatomy at planning."""
        return cast(Anatomy, self.planning.anatomy)

    @property
    def weight_kg(self) -> float:
        """At planning."""
        return float(self.planning.record["weight_kg"]["value"])

    @cached_property
    def rays(self) -> tuple[Rays, Rays]:
        """Of the tumour and of the node, see `rays_of_growths`."""
        return rays_of_growths(self.body)

    @cached_property
    def sampled(self) -> tuple[list[Shape], list[warped.Block | None], Grid]:
        """Solids of the body, what is known of them on a grid, and that grid."""
        solids = list(dict.fromkeys(part for _, parts in self.body.organs.values() for part in parts))
        base = self._base((SOLIDS_MM[self.planning.size],) * 3)
        return solids, warped.sampled(solids, self.body.build.offset_mm, base), base

    @cached_property
    def still(self) -> Image:
        """The body of planning without couch and noise, float32 HU, from which weekly scans are made."""
        grid, size = self.planning.scan.image.grid, self.planning.size
        return ct.tissues(self.body, self._base(BASE_MM[size]), grid.shape, grid.spacing_mm[2])

    @cached_property
    def growth_points(self) -> dict[str, Float]:
        """Points (n, 3) that fill the tumour and the node, LPS mm of planning."""
        offset = np.array(self.body.build.offset_mm)
        solids = {"GTVp": self.body.oesophagus.tumour, "GTVn": self.body.node.solid}
        return {name: truth.points_in(solid, _TUMOUR_STEP_MM) + offset for name, solid in solids.items()}

    @cached_property
    def volumes_cm3(self) -> dict[str, float]:
        """Of tumour and node at planning."""
        solids = {"GTVp": self.body.oesophagus.tumour, "GTVn": self.body.node.solid}
        return {name: truth.volume_cm3(solid, *solid.z_range) for name, solid in solids.items()}

    @cached_property
    def landmarks(self) -> dict[str, Float]:
        """Points (n, 3) by organ, LPS mm of planning: middle lines, forks of vessels in the lungs, tumour."""
        body, offset = self.body, np.array(self.body.build.offset_mm)
        spine = body.spine
        heights = np.arange(spine.cord.z_range[0] + 30.0, 180.0, 8.0).tolist()
        found = {
            "Esophagus": body.course.line[::2],
            "A_Aorta": body.arteries.aorta.points,
            "SpinalCord": np.array([(spine.x(z), spine.canal_y(z), z) for z in heights]),
            "Lungs": np.array([tree.points[-1] for tree in body.lungs.trees])[::3],
        }
        tumour = self.growth_points["GTVp"]
        return {name: points + offset for name, points in found.items()} | {"GTVp": tumour[:: len(tumour) // 40 + 1]}

    def told(self, weeks: Sequence[WeeklyScan]) -> dict[str, Any]:
        """What changes from week to week, as plain values."""
        changed = (
            "fractions_before", "weight_kg", "tumour_volume_cm3", "tumour_volume_change_percent",
            "weight_change_percent", "contour_change_mm", "triggers",
        )  # fmt: skip
        return {
            "name": NAME,
            "seed": self.planning.seed,
            "size": self.planning.size,
            "change": self.course.change,
            "weight_kg": self.weight_kg,
            "tumour_volume_cm3": {name: round(value, 4) for name, value in self.volumes_cm3.items()},
            "thresholds": {
                "tumour_volume_change_percent": TUMOUR_TRIGGER_PERCENT,
                "weight_loss_percent": WEIGHT_TRIGGER_PERCENT,
                "contour_change_mm": CONTOUR_TRIGGER_MM,
                "source": "RB-153, RB-154 (recalled)",
            },
            "weeks": {found.name: {key: found.truth[key] for key in changed} for found in weeks},
        }

    def date_of(self, week: int) -> dt.date:
        """Day of a week's scan: the Monday after its fractions, treatment having begun 10 days after planning."""
        planned = dt.datetime.strptime(self.planning.person.study_date, "%Y%m%d").date()
        return planned + dt.timedelta(days=_BEGINS_AFTER_DAYS + 7 * week)

    def map_of(self, week: int) -> WeeklyMap:
        """The true map of a week, without making its scan."""
        if week not in WEEKS:
            raise InputError(f"there is no scan of week {week}; known are weeks {', '.join(str(n) for n in WEEKS)}")
        lost = self.weight_kg * (1.0 - self.course.weight_share(week))
        share = fat_lost(self.body, self.weight_kg, lost)
        frames = self.planning.scan.image.grid.frame_of_reference, uid(self._made_from(week), "frame of reference")
        return weekly_map(self.body, self.rays, self.course, week, share, frames)

    def week(self, week: int, modality: Modality = "ct") -> WeeklyScan:
        """Scan the patient in a week of treatment; the same arguments give the same scan, voxel by voxel.

        Raises
        ------
        InputError
            For a week or a modality that is not made.
        """
        if modality not in ("ct", "cbct"):
            raise InputError(f"weekly scans are made as ct or cbct; '{modality}' is neither")
        found = self.map_of(week)
        frame, motions = found.bending.frame.to_frame, found.bending.motions
        grid = whole_grid(self.body, self.planning.size, frame, motions.table_shift_mm)
        rng = np.random.default_rng([self.planning.seed, week, 32452867, *modality.encode()])
        if modality == "cbct":
            middle = found.to_week(self.growth_points["GTVp"].mean(axis=0))
            grid = cone_beam.field_of_view(grid, float(middle[2]))
        image = warped.scanned(self.still, grid, found.to_planning, rng)
        if modality == "cbct":
            image = cone_beam.shown(image, rng)
        told = f"Virtual patient {NAME}, seed {self.planning.seed}, week {week}, {modality.upper()}"
        return WeeklyScan(self, found, scan_of(image, f"{self._made_from(week)}/{modality}", told), modality)

    def contour_change_mm(self, found: WeeklyMap) -> float:
        """How far the skin moved inwards or outwards at most, within 100 mm of the tumour's middle, on one table."""
        skin = np.concatenate(self.planning.structures["External"].contours)
        middle = self.growth_points["GTVp"].mean(axis=0)
        skin = skin[np.abs(skin[:, 2] - middle[2]) < _CONTOUR_WITHIN_MM]
        moved = found.bent(skin) - skin
        outward = skin[:, :2] - np.array(self.body.build.offset_mm)[:2]
        outward /= np.linalg.norm(outward, axis=1)[:, None]
        return float(np.abs((moved[:, :2] * outward).sum(axis=1)).max())

    def _made_from(self, week: int) -> str:
        return f"{NAME}/{self.planning.scan.series_uid}/{self.course.change}/{week}"

    def _base(self, step_mm: tuple[float, float, float]) -> Grid:
        """Grid of planning with all of the body that any week's scan can show."""
        grid = self.planning.scan.image.grid
        low, high = grid.faces_mm()
        slices = int(np.ceil((high[2] - low[2] + 2 * _SPARE_MM) / grid.spacing_mm[0]))
        first = grid.to_world((0, 0, 0)) - (0.0, 0.0, _SPARE_MM)
        wide = Grid.axial((slices, *grid.shape[1:]), grid.spacing_mm, first, grid.frame_of_reference)
        return warped.around(self.body, wide, lambda points: points, step_mm)


def make(seed: int = 0, size: Size = "full", *, change: Change = "large") -> AdaptivePatient:
    """Make a patient who changes during treatment; the same arguments give the same patient.

    Parameters
    ----------
    seed : int
        0 or above.
    size : {"full", "coarse"}
        Of the planning CT and of every weekly CT.
    change : {"large", "small", "contour"}
        Whether tumour and weight change so much that a trigger of RB-153 or RB-154 fires. "contour" has thick fat under
        the skin, loses so much of it that the body's contour alone fires RB-153, and is "small" in all else.

    Raises
    ------
    InputError
        For an unknown size or change, or a negative seed.
    """
    course = draw_course(seed, change)
    fat_mm = CONTOUR_FAT_MM if change == "contour" else None
    return AdaptivePatient(untreated(NAME, "ADA", seed, size, fat_mm=fat_mm), course)


def weeks_of(patient: AdaptivePatient, weeks: Sequence[int], modality: Modality = "ct") -> tuple[WeeklyScan, ...]:
    """Scans of several weeks, each once, in their order."""
    return tuple(patient.week(week, modality) for week in sorted(set(weeks)))
