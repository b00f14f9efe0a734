"""MR series as apparent diffusion coefficients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tailort.dicom.files import DAMAGED, DicomFile, Progress
from tailort.dicom.reading_images import Series, read_scan
from tailort.errors import DicomError
from tailort.patient import Scan

# Units of files and of people, by their signs without blanks and dots, in mm2/s.
_UNITS = {
    "mm2/s": 1.0, "um2/s": 1e-6, "cm2/s": 100.0, "m2/s": 1e6,
    "10-6mm2/s": 1e-6, "1e-6mm2/s": 1e-6, "10-3mm2/s": 1e-3, "1e-3mm2/s": 1e-3, "10-5mm2/s": 1e-5, "1e-5mm2/s": 1e-5,
}  # fmt: skip
_KNOWN = "mm2/s, 10^-3 mm2/s, 10^-6 mm2/s, um2/s"
# Water at body temperature diffuses with 0.003 mm2/s; what lies far beyond is in another unit.
_MOST_MM2_S, _LEAST_MM2_S = 0.01, 1e-5


def read_diffusion(
    series: Series, told: str | None = None, progress: Progress | None = None
) -> tuple[Scan, dict[str, str], tuple[str, ...]]:
    """One MR series as apparent diffusion coefficients, mm2/s; what they were worked out from; and notes.

    Parameters
    ----------
    series : Series
        A map of the coefficient, one image a slice.
    told : str or None
        Unit of the values after rescaling, by a person, where the file tells none.
    progress : callable or None
        As in `read_case`.

    Raises
    ------
    DicomError
        When the file tells no unit and no person does, a unit is unknown, both disagree, or the values cannot be
        coefficients in that unit.

    Notes
    -----
    A Real World Value Mapping of the file goes before its Rescale Type; it maps stored values.

    References
    ----------
    DICOM PS3.3 C.7.6.16.2.11 (real world value mapping), C.11.1 (modality LUT).
    """
    what = series.label
    if len(series.files) != series.slices:
        raise DicomError(f"{what} is a multi-frame MR, which is not read as diffusion; export it as single images")
    scan, notes = read_scan(series, progress)
    by_uid = {file.sop_instance_uid: file for file in series.files}
    values = np.empty(scan.image.grid.shape, dtype=np.float32)
    units = set()
    for k, uid in enumerate(scan.instance_uids):
        slope, intercept, unit = _mapping(by_uid[uid], told, what)
        units.add(unit)
        values[k] = (scan.image.values[k] * slope + intercept) * _factor(unit, what)
    top = float(np.percentile(values, 99.0))
    if not _LEAST_MM2_S <= top <= _MOST_MM2_S:
        raise DicomError(
            f"{what}: 99 % of its values lie below {top:.3g} mm2/s when read in {' and '.join(sorted(units))}; "
            f"expected {_LEAST_MM2_S:g} to {_MOST_MM2_S:g} mm2/s: another unit is meant, or this is no map of diffusion"
        )
    facts = {"unit of the file": ", ".join(sorted(units)), "unit told by": "a person" if told else "the file"}
    return replace(scan, image=scan.image.with_values(values, "mm2/s")), facts, notes


def _mapping(file: DicomFile, told: str | None, what: str) -> tuple[float, float, str]:
    """Slope and intercept that take values after rescaling to a quantity, and its unit."""
    try:
        mapped = file.header.get("RealWorldValueMappingSequence") or []
        item = next((one for one in mapped if "RealWorldValueSlope" in one), None)
        if item is not None:
            unit = str(item.MeasurementUnitsCodeSequence[0].CodeValue)
            slope, intercept = float(item.RealWorldValueSlope), float(item.RealWorldValueIntercept)
            if told is not None and _plain(told) != _plain(unit):
                raise DicomError(f"{what} tells its unit, {unit}, and {told} was given; leave the unit out")
            rescale = float(file.header.get("RescaleSlope") or 1.0), float(file.header.get("RescaleIntercept") or 0.0)
            return slope / rescale[0], intercept - slope * rescale[1] / rescale[0], unit
        kind = str(file.header.get("RescaleType") or "")
    except DAMAGED as error:
        raise DicomError(f"file '{file.path}': its Real World Value Mapping cannot be read ({error})") from error
    if _plain(kind) in _UNITS:
        if told is not None and _plain(told) != _plain(kind):
            raise DicomError(f"{what} tells its unit, {kind}, and {told} was given; leave the unit out")
        return 1.0, 0.0, kind
    if told is None:
        raise DicomError(
            f"{what} does not tell the unit of its values (no RealWorldValueMappingSequence, and RescaleType is "
            f"'{kind}'): give the unit, one of {_KNOWN}, as the scanner's manual tells it"
        )
    return 1.0, 0.0, told


def _factor(unit: str, what: str) -> float:
    """Return mm2/s in one of a unit."""
    if _plain(unit) not in _UNITS:
        raise DicomError(f"{what}: '{unit}' is no unit of diffusion that is known; known are {_KNOWN}")
    return _UNITS[_plain(unit)]


def _plain(unit: str) -> str:
    """A unit without the signs in which files and people differ."""
    plain = unit.strip().lower().replace("²", "2").replace("µ", "u").replace("μ", "u").replace("⁻", "-")
    for sign in " .*^·×()":
        plain = plain.replace(sign, "")
    return plain.replace("mm2/sec", "mm2/s")
