"""Linear accelerators: what plans and dose engines need to know of them."""

from __future__ import annotations

from dataclasses import dataclass

from tailort.errors import InputError


@dataclass(frozen=True)
class Machine:
    """A photon beam of a linac with its collimators.

    Parameters
    ----------
    id : str
        Name by which plans call it.
    label : str
        What it is, for reports.
    energy_mv : float
        Nominal energy, MV.
    flattened : bool
        False for a flattening-filter-free beam.
    source_axis_distance_mm : float
        mm.
    tpr20_10 : float
        Beam quality: tissue phantom ratio 20 over 10 cm, 10 x 10 cm field.
    leaf_boundaries_mm : tuple of float
        y of the leaf edges at the isocentre, ascending, mm.
    leaf_reach_mm : tuple of float
        Lowest and highest x that a leaf end may take, mm.
    leaf_span_mm : float
        Largest distance between the leaf ends of one bank, mm.
    leaf_gap_mm : float
        Smallest gap of an open pair, mm.
    leaf_transmission, jaw_transmission : float
        Share of the open fluence behind leaves and behind jaws.
    jaw_limit_mm : float
        Jaws reach from minus to plus this position, mm.
    max_mu_per_minute : float
        Dose rate.
    min_segment_mu : float
        Fewest MU of one segment.
    penumbra_sigma_mm : float
        Standard deviation of the Gaussian by which source and collimator blur a fluence edge at the isocentre, mm.
    reference_dose_gy_per_mu : float
        Dose a MU under the reference conditions.
    reference_depth_mm, reference_field_mm : float
        Depth of the calibration point, which is at the isocentre, and side of the square field there.
    sources : tuple of str
        Where each number is from, with its mark.
    """

    id: str
    label: str
    energy_mv: float
    flattened: bool
    source_axis_distance_mm: float
    tpr20_10: float
    leaf_boundaries_mm: tuple[float, ...]
    leaf_reach_mm: tuple[float, float]
    leaf_span_mm: float
    leaf_gap_mm: float
    leaf_transmission: float
    jaw_transmission: float
    jaw_limit_mm: float
    max_mu_per_minute: float
    min_segment_mu: float
    penumbra_sigma_mm: float
    reference_dose_gy_per_mu: float
    reference_depth_mm: float
    reference_field_mm: float
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        if any(b <= a for a, b in zip(self.leaf_boundaries_mm, self.leaf_boundaries_mm[1:], strict=False)):
            raise InputError(f"machine '{self.id}': leaf boundaries must ascend")
        if not 0.5 < self.tpr20_10 < 0.9:
            raise InputError(f"machine '{self.id}': TPR20,10 of {self.tpr20_10:g} is not that of a photon beam")
        if self.penumbra_sigma_mm < 0.5:
            raise InputError(f"machine '{self.id}': no beam is as sharp as a blur of {self.penumbra_sigma_mm:g} mm")
        if not (0 <= self.leaf_transmission < 1 and 0 <= self.jaw_transmission < 1):
            raise InputError(f"machine '{self.id}': transmission through leaves and jaws is a share from 0 to 1")

    @property
    def leaf_pairs(self) -> int:
        """Number of leaf pairs."""
        return max(0, len(self.leaf_boundaries_mm) - 1)

    @property
    def reference_ssd_mm(self) -> float:
        """Distance from the source to the water surface under the reference conditions, mm."""
        return self.source_axis_distance_mm - self.reference_depth_mm
