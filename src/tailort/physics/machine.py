"""Linear accelerators: what plans and dose engines need to know of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.physics.spectrum import Spectrum


@dataclass(frozen=True, eq=False)
class Head:
    """The photon beam and what shapes it in the treatment head.

    Distances along the beam are from the source. Gaussians are given by their standard deviation.

    Parameters
    ----------
    spectrum : Spectrum
        Photon number on the axis.
    profile : tuple of (float, float)
        Distance from the axis in the isocentre plane (mm, ascending) and primary energy fluence there relative to the
        axis: horns, or the peak of a flattening-filter-free beam.
    softens : bool
        Whether the beam is softer off its axis, as behind a flattening filter.
    source_sigma_mm : float
        Of the Gaussian source, at its own place; 0 is a point source.
    jaw_x_distance_mm, jaw_y_distance_mm, leaf_distance_mm : float
        Where the jaws along x, those along y and the leaves are, mm.
    jaw_offset_mm : float
        By which each jaw is inside its set position, so that fields are as wide as they are set, isocentre plane, mm.
    extrafocal_share : float
        Share of the energy fluence on the axis of the largest field that comes from the extra-focal source, the
        flattening filter and the primary collimator.
    extrafocal_sigma_mm, extrafocal_distance_mm : float
        Of that Gaussian source in its plane, and where that plane is, mm.
    leaf_end_gap_mm : float
        By which an opening is wider than its leaf ends say, as their ends are round (both ends together).
    tongue_mm, tongue_transmission : float
        Width of the strip along a leaf's side where tongue and groove overlap, and the share that passes it when only
        one of the two leaves is in the way.
    contamination_cm2_g, contamination_per_cm, contamination_sigma_mm : float
        Contaminating electrons, alpha exp(-beta z) exp(-gamma r^2) in depth and distance: their dose at the surface of
        a field without end, in the unit of the TERMA (energy fluence 1); beta; and 1/sqrt(2 gamma).

    References
    ----------
    Ahnesjo and Andreo 1989, Phys Med Biol 34:1451, doi:10.1088/0031-9155/34/10/008 (form of the contamination).
    """

    spectrum: Spectrum
    profile: tuple[tuple[float, float], ...]
    softens: bool
    source_sigma_mm: float
    jaw_x_distance_mm: float
    jaw_y_distance_mm: float
    leaf_distance_mm: float
    jaw_offset_mm: float
    extrafocal_share: float
    extrafocal_sigma_mm: float
    extrafocal_distance_mm: float
    leaf_end_gap_mm: float
    tongue_mm: float
    tongue_transmission: float
    contamination_cm2_g: float
    contamination_per_cm: float
    contamination_sigma_mm: float

    def __post_init__(self) -> None:
        if not 0 <= self.extrafocal_share < 0.5:
            raise InputError(f"an extrafocal_share of {self.extrafocal_share:g} is not that of a photon beam: 0 to 0.5")
        if not abs(self.jaw_offset_mm) <= 5:
            raise InputError(f"a jaw_offset_mm of {self.jaw_offset_mm:g} is no small correction: at most 5 mm")
        if not 0 <= self.tongue_transmission <= 1:
            raise InputError(f"a tongue_transmission of {self.tongue_transmission:g} is no share from 0 to 1")
        negative = [
            name for name in NOT_NEGATIVE if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0)
        ]
        if negative:
            raise InputError(f"{', '.join(negative)} of a machine must be numbers not below 0")
        collimators = (self.jaw_x_distance_mm, self.jaw_y_distance_mm, self.leaf_distance_mm)
        if self.extrafocal_distance_mm >= min(collimators):
            raise InputError(
                f"the extra-focal source at {self.extrafocal_distance_mm:g} mm must be nearer to the source than jaws "
                f"and leaves, the nearest of which is at {min(collimators):g} mm"
            )
        for name, sigma, amount in (
            ("extrafocal_sigma_mm", self.extrafocal_sigma_mm, self.extrafocal_share),
            ("contamination_sigma_mm", self.contamination_sigma_mm, self.contamination_cm2_g),
        ):
            if amount > 0 and sigma < LEAST_WIDE_SIGMA_MM:
                raise InputError(f"an {name} of {sigma:g} is too narrow; expected at least {LEAST_WIDE_SIGMA_MM:g} mm")
        radii, values = (np.array(column, dtype=np.float64) for column in zip(*self.profile, strict=True))
        if not len(radii) or (np.diff(radii) <= 0).any() or radii[0] < 0:
            raise InputError("the distances of a machine's profile must ascend from 0")
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise InputError("the fluence of a machine's profile must be above 0")


# The sources of head scatter and of electrons are sampled on a lattice made for Gaussians at least this wide.
LEAST_WIDE_SIGMA_MM = 8.0
NOT_NEGATIVE = (
    "source_sigma_mm",
    "jaw_x_distance_mm",
    "jaw_y_distance_mm",
    "leaf_distance_mm",
    "extrafocal_sigma_mm",
    "extrafocal_distance_mm",
    "leaf_end_gap_mm",
    "tongue_mm",
    "contamination_cm2_g",
    "contamination_per_cm",
    "contamination_sigma_mm",
)


@dataclass(frozen=True)
class Motion:
    """What moves while the beam is on, and how fast; the dose rate is `Machine.max_mu_per_minute`.

    Parameters
    ----------
    gantry_deg_per_s, slowest_gantry_deg_per_s : float
        Highest and lowest speed of the gantry in an arc.
    leaf_mm_per_s : float
        Highest speed of a leaf end at the isocentre plane.
    least_mu_per_deg : float
        Fewest MU for each degree of an arc: below it the beam would have to be held.
    gantry_stop_deg : float
        Angle that the gantry cannot pass, IEC 61217.
    interdigitates : bool
        Whether a leaf may pass the opposite leaves of the neighbouring pairs.
    """

    gantry_deg_per_s: float
    slowest_gantry_deg_per_s: float
    leaf_mm_per_s: float
    least_mu_per_deg: float
    gantry_stop_deg: float = 180.0
    interdigitates: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.slowest_gantry_deg_per_s <= self.gantry_deg_per_s < np.inf:
            raise InputError(
                f"a gantry cannot turn with {self.slowest_gantry_deg_per_s:g} to {self.gantry_deg_per_s:g} degrees a "
                "second; expected a lowest speed above 0 and not above the highest"
            )
        if not (0 < self.leaf_mm_per_s < np.inf and 0 <= self.least_mu_per_deg < np.inf):
            raise InputError(
                f"leaves need a speed above 0 mm/s and arcs at least 0 MU a degree; found {self.leaf_mm_per_s:g} mm/s "
                f"and {self.least_mu_per_deg:g} MU"
            )


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
    head : Head
        The photon beam.
    motion : Motion
        Speeds of leaves and gantry.
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
    head: Head
    motion: Motion
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
        above_zero = [
            name
            for name in ("energy_mv", "jaw_limit_mm", "max_mu_per_minute", "reference_dose_gy_per_mu",
                         "reference_depth_mm", "reference_field_mm")
            if not 0 < getattr(self, name) < np.inf
        ]  # fmt: skip
        if above_zero:
            raise InputError(f"machine '{self.id}': {', '.join(above_zero)} must be numbers above 0")
        head = self.head
        lowest = max(head.jaw_x_distance_mm, head.jaw_y_distance_mm, head.leaf_distance_mm)
        if not lowest < self.source_axis_distance_mm:
            raise InputError(f"machine '{self.id}': jaws and leaves must be above the isocentre")

    @property
    def leaf_pairs(self) -> int:
        """Number of leaf pairs."""
        return max(0, len(self.leaf_boundaries_mm) - 1)

    @property
    def reference_ssd_mm(self) -> float:
        """Distance from the source to the water surface under the reference conditions, mm."""
        return self.source_axis_distance_mm - self.reference_depth_mm

    @property
    def spectrum(self) -> Spectrum:
        """Photon number on the axis."""
        return self.head.spectrum

    def primary_fluence(self, radius_mm: ArrayLike) -> NDArray[np.float64]:
        """Primary energy fluence relative to that on the axis, by distance from it in the isocentre plane, mm."""
        radii, values = np.array(self.head.profile).T
        profile: NDArray[np.float64] = np.interp(np.asarray(radius_mm, dtype=np.float64), radii, values)
        return profile

    def hardness(self, radius_mm: ArrayLike) -> NDArray[np.float64]:
        """Attenuation in water relative to that on the axis, by distance from it in the isocentre plane, mm.

        References
        ----------
        Tailor et al. 1998, Med Phys 25:662, doi:10.1118/1.598249; the coefficients are recalled.
        """
        radius = np.asarray(radius_mm, dtype=np.float64)
        if not self.head.softens:
            return np.ones_like(radius)
        t = np.rad2deg(np.arctan(radius / self.source_axis_distance_mm))
        return 1.0 + t * (0.00181 + t * (0.00202 - t * 0.0000942))
