"""One person's whole body: the regions fitted to each other, and the organs drawn from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tailort.phantom.anatomy.abdomen import Abdomen
from tailort.phantom.anatomy.airways import Airways
from tailort.phantom.anatomy.arteries import Arteries
from tailort.phantom.anatomy.chest_wall import ChestWall
from tailort.phantom.anatomy.course import Course
from tailort.phantom.anatomy.dome import Dome
from tailort.phantom.anatomy.heart import Heart
from tailort.phantom.anatomy.lungs import Lungs
from tailort.phantom.anatomy.neck import Neck
from tailort.phantom.anatomy.node import Lump, Node
from tailort.phantom.anatomy.oesophagus import Gullet, Oesophagus
from tailort.phantom.anatomy.region import Point, Region
from tailort.phantom.anatomy.spine import Spine
from tailort.phantom.anatomy.stations import Stations
from tailort.phantom.anatomy.surface import Surface
from tailort.phantom.anatomy.veins import Veins
from tailort.phantom.shapes import Shape

Organs = dict[str, tuple[str, tuple[Shape, ...]]]
"""TG-263 name -> (role, solids that do not touch each other)."""


@dataclass(frozen=True, eq=False)
class Body(Region, ABC):
    """One person's body, each region fitted to those before it, around the oesophagus and the growth of a patient."""

    @property
    @abstractmethod
    def oesophagus(self) -> Gullet:
        """The oesophagus, or what surgery has left of it."""

    @property
    @abstractmethod
    def node(self) -> Lump:
        """The growth outside of the oesophagus."""

    @property
    @abstractmethod
    def organs(self) -> Organs:
        """Name, role and solids of every structure that is drawn."""

    @property
    def additions(self) -> tuple[tuple[Shape, str], ...]:
        """Solids that the CT shows over all others, each with the name of its tissue."""
        return ()

    @cached_property
    def surface(self) -> Surface:
        """Skin, breasts, the layer of muscle under the fat, and the inner wall of chest and abdomen."""
        return Surface(self.build)

    @cached_property
    def spine(self) -> Spine:
        """Vertebrae with their arches, discs, the canal and the cord."""
        return Spine(self.build, self.surface)

    @cached_property
    def chest_wall(self) -> ChestWall:
        """Ribs, sternum, clavicles and shoulder blades."""
        return ChestWall(self.build, self.spine)

    @cached_property
    def dome(self) -> Dome:
        """The upper surface of the diaphragm, which parts the chest from the abdomen."""
        return Dome(self.build)

    @cached_property
    def course(self) -> Course:
        """Where the oesophagus runs, and where along it the tumour lies."""
        return Course(self.build, self.spine)

    @property
    def food_line(self) -> NDArray[np.float64]:
        """Centre-line (n, 3) of what crosses the diaphragm, from head to foot."""
        return self.course.line

    @cached_property
    def hiatus(self) -> Point:
        """Where that line crosses the diaphragm's upper surface."""
        line = self.food_line
        above = line[:, 2] - np.array([self.dome.height(x, y) for x, y, _ in line])
        n = int(np.argmax(above < 0))
        x, y, z = (float(v) for v in line[n] + (line[n - 1] - line[n]) * above[n] / (above[n] - above[n - 1]))
        return x, y, z

    @cached_property
    def airways(self) -> Airways:
        """Trachea, carina and main bronchi."""
        return Airways(self.build, self.spine, self.course)

    @cached_property
    def arteries(self) -> Arteries:
        """The aorta and its branches, and the pulmonary arteries."""
        return Arteries(self.build, self.spine)

    @cached_property
    def veins(self) -> Veins:
        """Caval, brachiocephalic, jugular and azygos veins."""
        return Veins(self.build, self.spine, self.airways, self.oesophagus)

    @cached_property
    def heart(self) -> Heart:
        """The heart, its sac and the pulmonary veins."""
        return Heart(self.build, self.surface, self.dome, self.airways, self.arteries, self.oesophagus, self.veins)

    @cached_property
    def lungs(self) -> Lungs:
        """Both lungs, the vessels in them, and the mediastinum between them."""
        return Lungs(
            self.build,
            self.surface,
            self.spine,
            self.chest_wall,
            self.dome,
            self.airways,
            self.arteries,
            self.oesophagus,
            self.veins,
            self.heart,
            self.node,
        )

    @cached_property
    def abdomen(self) -> Abdomen:
        """The diaphragm and the organs under it."""
        return Abdomen(
            self.build,
            self.surface,
            self.spine,
            self.chest_wall,
            self.dome,
            self.arteries,
            self.oesophagus,
            self.veins,
            self.node,
        )

    @cached_property
    def neck(self) -> Neck:
        """Pharynx, larynx, thyroid, muscles and fat of the neck, jaw and teeth."""
        return Neck(self.build, self.surface, self.spine, self.chest_wall, self.airways, self.oesophagus)

    @cached_property
    def stations(self) -> Stations:
        """Regions of lymph nodes that are treated as a whole."""
        return Stations(
            self.build,
            self.surface,
            self.spine,
            self.chest_wall,
            self.airways,
            self.arteries,
            self.oesophagus,
            self.veins,
            self.lungs,
            self.abdomen,
            self.neck,
        )

    @cached_property
    def z_limits(self) -> tuple[float, float]:
        """Lowest and highest plane that the scan must reach: all of L2 to all of C1."""
        return self.spine.vertebrae[-1].bottom - 4.0, self.spine.vertebrae[0].top + 2.0

    @cached_property
    def shared_organs(self) -> Organs:
        """Organs that every patient has."""
        single: dict[str, Shape] = {
            "External": self.surface.external,
            "Skin": self.surface.skin,
            "Lung_L": self.lungs.sides[0],
            "Lung_R": self.lungs.sides[1],
            "Heart": self.heart.organ,
            "Pericardium": self.heart.pericardium,
            "Trachea": self.airways.trachea,
            "Carina": self.airways.carina_marker,
            "Bronchus_Main": self.airways.bronchi,
            "Esophagus": self.oesophagus.organ,
            "Esophagus^Lumen": self.oesophagus.lumen,
            "A_Aorta": self.arteries.aorta,
            "A_Brachiocephls": self.arteries.brachiocephalic,
            **self.arteries.carotids,
            "V_Azygos": self.veins.azygos,
            "V_Pulmonary": self.heart.pulmonary_veins,
            "A_Celiac": self.arteries.celiac,
            "Pharynx": self.neck.pharynx,
            "Larynx": self.neck.larynx,
            "SpinalCord": self.spine.cord,
            "SpinalCanal": self.spine.canal,
            **self.spine.bones,
            "Sternum": self.chest_wall.sternum,
            **self.chest_wall.clavicles,
            "Diaphragm": self.abdomen.diaphragm,
            "Stomach": self.abdomen.stomach,
            "Bowel": self.abdomen.bowel,
            "Liver": self.abdomen.liver,
            "Spleen": self.abdomen.spleen,
            **self.abdomen.kidneys,
        }
        roles = {"External": "EXTERNAL"}
        found = {name: (roles.get(name, "ORGAN"), (shape,)) for name, shape in single.items()}
        several: Organs = {
            "Lungs": ("ORGAN", self.lungs.sides),
            "Ribs": ("ORGAN", self.chest_wall.ribs),
        }
        return {**found, **several}

    @cached_property
    def node_regions(self) -> Organs:
        """Regions of nodes; neither organs to spare nor targets until a protocol says so."""
        regions = {**self.stations.supraclavicular, "LN_Celiac": self.stations.celiac}
        return {name: ("OTHER", (shape,)) for name, shape in regions.items()}


@dataclass(frozen=True, eq=False)
class Anatomy(Body):
    """The body of a patient with an untreated tumour of the oesophagus and one enlarged node near it."""

    @cached_property
    def oesophagus(self) -> Oesophagus:
        """The oesophagus with its wall and lumen, and the tumour in it."""
        return Oesophagus(self.build, self.spine, self.course, self.airways, self.arteries)

    @cached_property
    def node(self) -> Node:
        """One enlarged lymph node near the tumour."""
        return Node(
            self.build, self.spine, self.course, self.airways, self.arteries, self.oesophagus, self.veins, self.heart
        )

    @cached_property
    def organs(self) -> Organs:
        """Name, role and solids of every structure that is drawn."""
        return {
            **self.shared_organs,
            "GTVp": ("GTV", (self.oesophagus.tumour,)),
            "GTVn": ("GTV", (self.node.solid,)),
            **self.node_regions,
        }
