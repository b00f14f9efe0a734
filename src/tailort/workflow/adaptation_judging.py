"""The doses of a course judged, and put side by side: planned, given, if nothing changes, planned anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tailort.errors import InputError
from tailort.evaluation import DVH, EarlierCourse, Scorecard, assess, histograms
from tailort.patient import Case, Dose, Structure, StructureSet
from tailort.protocols import Protocol
from tailort.radiobiology import course_dose
from tailort.radiobiology.tolerances import alpha_beta
from tailort.registration import Registration
from tailort.workflow.adapted_records import SideBySide
from tailort.workflow.earlier import earlier_on
from tailort.workflow.options import PlanningOptions

TUMOUR_ALPHA_BETA_GY = 10.0
TARGET_METRICS = ("D98%[Gy]", "D95%[Gy]", "D50%[Gy]", "D2%[Gy]")
ORGAN_METRICS = ("Mean[Gy]", "D0.035cc[Gy]", "Max[Gy]")
TARGETS = ("GTV", "CTV", "ITV", "PTV")


@dataclass(frozen=True)
class Judged:
    """How doses of the course are judged and put side by side."""

    case: Case
    protocol: Protocol | None
    planned_structures: StructureSet
    planned: Case
    earlier_by: Mapping[str, Registration]
    options: PlanningOptions

    def _slice_mm(self, planned: bool) -> float:
        return (self.planned if planned else self.case).ct.image.grid.spacing_mm[0]

    def _structures(self, planned: bool) -> StructureSet:
        return self.planned_structures if planned else self.case.structures

    def card(self, doses: Sequence[Dose], *, planned: bool = False) -> Scorecard | None:
        """Scorecard of the whole course; None without a protocol."""
        if self.protocol is None:
            return None
        report: dict[str, tuple[str, ...]] = {}
        for metric in self.protocol.report_metrics():
            report[metric.structure] = (*report.get(metric.structure, ()), metric.metric)
        earlier: tuple[EarlierCourse, ...] = ()
        if self.case.courses and not planned:
            earlier = earlier_on(self.case, doses[0].image.grid, self.earlier_by, self.options.today)
        return assess(
            self._structures(planned), doses, self.protocol.constraints(), self.protocol.course(), metrics=report,
            earlier=earlier, single_slice_thickness_mm=self._slice_mm(planned),
        )  # fmt: skip

    def curves(self, doses: Sequence[Dose], *, planned: bool = False) -> dict[str, DVH]:
        """Histograms of the physical dose of the course."""
        return histograms(
            [s for s in self._structures(planned) if not s.is_empty], course_dose(doses),
            single_slice_thickness_mm=self._slice_mm(planned),
        )  # fmt: skip

    def side_by_side(
        self,
        planned: Sequence[Dose],
        given: Sequence[Dose],
        projected: Sequence[Dose],
        replanned: Sequence[Dose] | None,
    ) -> tuple[SideBySide, ...]:
        """Metrics of targets and organs, physical and in EQD2."""
        shown = self._shown()
        groups: dict[float | None, list[Structure]] = {None: shown}
        for structure in shown:
            tissue = None if structure.role in TARGETS else alpha_beta(structure.name)
            ab = TUMOUR_ALPHA_BETA_GY if structure.role in TARGETS else None if tissue is None else tissue.value_gy
            if ab is not None:
                groups.setdefault(ab, []).append(structure)
        found: dict[tuple[str, str, str], dict[str, float | None]] = {}
        doses = {"planned": planned, "so_far": given, "projected": projected, "replanned": replanned}
        for ab, structures in groups.items():
            for column, parts in doses.items():
                if not parts:
                    continue
                was = column == "planned"
                whole = course_dose(parts, "physical" if ab is None else "EQD2", ab)
                drawn = [
                    s for name in structures if (s := self._structures(was).find(name.name)) and not s.is_empty
                ]  # fmt: skip
                for name, curve in histograms(
                    drawn, whole, single_slice_thickness_mm=self._slice_mm(was)
                ).items():  # fmt: skip
                    role = self.case.structures[name].role
                    for metric in TARGET_METRICS if role in TARGETS else ORGAN_METRICS:
                        row = found.setdefault((name, metric, whole.label), {})
                        row[column] = _known(curve, metric)
        order = {s.name: n for n, s in enumerate(shown)}
        rows = [
            SideBySide(*key, *(row.get(column) for column in ("planned", "so_far", "projected", "replanned")))
            for key, row in found.items()
        ]
        return tuple(sorted(rows, key=lambda row: order[row.structure]))

    def _shown(self) -> list[Structure]:
        """Targets and what the protocol limits; without a protocol every organ."""
        limited = None if self.protocol is None else {c.structure.lower() for c in self.protocol.constraints()}
        return [
            s for s in self.case.structures
            if not s.is_empty and s.role != "EXTERNAL"
            and (s.role in TARGETS or limited is None or s.name.lower() in limited)
        ]  # fmt: skip


def _known(curve: DVH, metric: str) -> float | None:
    """A metric, or None where it is not known or the structure is smaller than it asks."""
    try:
        low, high = curve.bounds(metric)
    except InputError:
        return None
    return float(low) if low == high else None
