"""PET series as SUV by body weight."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from pydicom.dataset import Dataset
from pydicom.valuerep import DA, DT, TM

from tailort.dicom.files import DAMAGED, DicomFile, Progress
from tailort.dicom.reading_images import Series, read_scan
from tailort.errors import DicomError, InputError
from tailort.patient import QUANTITIES, Quantity, Scan
from tailort.physics.uptake import average_time_s, body_weight_suv, decay_factor

_PET_IMAGE = "1.2.840.10008.5.1.4.1.1.128"
# Beyond these a number is in another unit than DICOM asks for.
_WEIGHT_KG, _LEAST_DOSE_BQ = (1.0, 400.0), 1e6
# Half-lives in s, to see minutes or hours in their place: evaluated nuclear data, recalled; far apart from slips.
_HALF_LIVES_S = {("f", 18): 6586.0, ("c", 11): 1222.0, ("cu", 64): 45720.0, ("ga", 68): 4062.0}
_ELEMENTS = {"fluorine": "f", "carbon": "c", "copper": "cu", "gallium": "ga"}
_HALF_LIFE_WITHIN = 0.01
# Later than this nothing that can be measured is left.
_MOST_HALF_LIVES = 10.0
# A time of day after that of the scan is of the day before, unless the way round is longer than this.
_OVER_MIDNIGHT = dt.timedelta(hours=12)
# Decay references of one file that differ by more are told, s.
_REFERENCES_APART_S = 60.0
_SAME_FOR_ALL = ("Units", "DecayCorrection", "CorrectedImage", "PatientWeight", "SeriesDate", "SeriesTime")
_SAME_TRACER = (
    "RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Suv:
    """A PET in SUV, and what that was worked out from.

    Parameters
    ----------
    scan : Scan
        In SUV by body weight, g/ml.
    date : date
        Day of acquisition.
    facts : dict of str
        By name, with units.
    notes : tuple of str
        What was noticed.
    """

    scan: Scan
    date: dt.date
    facts: dict[str, str]
    notes: tuple[str, ...]


def read_suv(series: Series, quantity: Quantity, progress: Progress | None = None) -> Suv:
    """One PET series as SUV by body weight: concentration x weight / dose decayed to the same time.

    Parameters
    ----------
    series : Series
        PET Image objects in Bq/ml, corrected for attenuation and decay; the rescale of each slice is its own.
    quantity : Quantity
        The tracer is compared with the one that the files name.
    progress : callable or None
        As in `read_case`.

    Raises
    ------
    DicomError
        Naming the attribute that is missing or is something else than expected, or differs between slices.

    Notes
    -----
    Decay Correction ADMIN: concentrations are those of the time of administration, so the dose stays as it is. START:
    the dose is decayed from the administration to the series' date and time, or to the earliest acquisition where the
    series is dated later, as series are that were made again afterwards. NONE is refused: each frame would need its own
    factor, which few files tell whole. A time of administration without its date is of the day before where it would
    otherwise lie after the scan.

    References
    ----------
    DICOM PS3.3 C.8.9.1 (PET series), C.8.9.1.1.5 (decay correction), C.8.9.2 (PET isotope); Quantitative Imaging
    Biomarkers Alliance, vendor-neutral pseudo-code of the SUV by body weight.
    """
    what = series.label
    first = series.files[0]
    if any(file.sop_class_uid != _PET_IMAGE for file in series.files):
        raise DicomError(f"{what} is a multi-frame PET, of which no SUV is made; export it as single PET images")
    _require_alike(series, _SAME_FOR_ALL, [file.header for file in series.files])
    tracers = [_tracer(file) for file in series.files]
    _require_alike(series, _SAME_TRACER, tracers)
    tracer = tracers[0]
    unit = str(first.value("Units"))
    if unit != "BQML":
        raise DicomError(f"{what} is in {unit} (Units); an SUV is made from BQML: export the PET in Bq/ml")
    corrected = _corrections(first)
    for needed, meaning in (("ATTN", "attenuation"), ("DECY", "decay")):
        if needed not in corrected:
            raise DicomError(
                f"{what} was not corrected for {meaning} (CorrectedImage has {', '.join(corrected)} and no {needed}): "
                "export the corrected images"
            )
    weight_kg = _number(first.header, "PatientWeight", first, "")
    if not _WEIGHT_KG[0] <= weight_kg <= _WEIGHT_KG[1]:
        raise DicomError(f"{what}: PatientWeight is {weight_kg:g}; expected kg, from 1 to 400")
    total_bq = _number(tracer, "RadionuclideTotalDose", first, _TRACER)
    if total_bq < _LEAST_DOSE_BQ:
        raise DicomError(f"{what}: RadionuclideTotalDose is {total_bq:g}; expected Bq, more than {_LEAST_DOSE_BQ:g}")
    notes = _other_tracer(tracer, quantity, what)
    facts = {
        "PatientWeight": f"{weight_kg:g} kg",
        "RadionuclideTotalDose": f"{total_bq / 1e6:.5g} MBq",
        "DecayCorrection": str(first.value("DecayCorrection")),
        **_made_with(first),
    }
    kind = facts["DecayCorrection"]
    scanned = min(_moment(file, "Acquisition") for file in series.files)
    if kind == "START":
        decayed_bq = total_bq * _decay_to_start(series, tracer, scanned, facts, notes)
    elif kind == "ADMIN":
        decayed_bq = total_bq
        facts |= _uptake_of(tracer, scanned, first)
    else:
        raise DicomError(
            f"{what} has the DecayCorrection {kind}; expected START or ADMIN: export images corrected for decay"
        )
    scan, found = read_scan(series, progress)
    image = scan.image.with_values(body_weight_suv(scan.image.values, weight_kg, decayed_bq), "SUV")
    facts["dose at the time of the values"] = f"{decayed_bq / 1e6:.5g} MBq"
    facts["SUV per Bq/ml"] = f"{weight_kg * 1000.0 / decayed_bq:.6g}"
    kept = [note for note in found if "not converted to SUV" not in note]
    return Suv(replace(scan, image=image), scanned.date(), facts, (*kept, *notes))


def _made_with(file: DicomFile) -> dict[str, str]:
    """Scanner and reconstruction, as far as the file tells them."""
    keywords = {
        "scanner": ("Manufacturer", "ManufacturerModelName"),
        "reconstruction": ("ReconstructionMethod", "ConvolutionKernel"),
    }
    told = {name: " ".join(filter(None, map(file.text, parts))) for name, parts in keywords.items()}
    return {name: text for name, text in told.items() if text}


def _uptake_of(tracer: Dataset, scanned: dt.datetime, file: DicomFile) -> dict[str, str]:
    """Minutes of uptake where the values do not rest on them; nothing where the file does not tell them."""
    try:
        minutes = (scanned - _administered(tracer, scanned, file, [])).total_seconds() / 60.0
    except DicomError:
        return {}
    return {"minutes of uptake": f"{minutes:.1f}"} if minutes >= 0 else {}


_TRACER = " in its RadiopharmaceuticalInformationSequence"


def _decay_to_start(
    series: Series, tracer: Dataset, scanned: dt.datetime, facts: dict[str, str], notes: list[str]
) -> float:
    """Share of the dose that is left at the time to which a START series is corrected."""
    first, what = series.files[0], series.label
    half_life_s = _number(tracer, "RadionuclideHalfLife", first, _TRACER)
    _require_half_life(tracer, half_life_s, what)
    start, called = scanned, "the earliest acquisition"
    if first.optional("SeriesDate") and first.optional("SeriesTime"):
        dated = _moment(first, "Series")
        if dated <= scanned:
            start, called = dated, "the series' date and time"
        else:
            notes.append(
                f"{what} is dated {dated:%Y-%m-%d %H:%M:%S}, after its acquisition: decay was reckoned to the earliest "
                f"acquisition, {scanned:%Y-%m-%d %H:%M:%S}"
            )
    given = _administered(tracer, start, first, notes)
    elapsed_s = (start - given).total_seconds()
    if not 0 <= elapsed_s <= _MOST_HALF_LIVES * half_life_s:
        raise DicomError(
            f"{what} was started {elapsed_s / 60:.1f} min after the tracer was given (by {called} and the time of "
            f"administration, {given:%Y-%m-%d %H:%M:%S}); expected 0 to {_MOST_HALF_LIVES:g} half-lives of "
            f"{half_life_s / 60:.1f} min: check the times in the export"
        )
    facts["RadionuclideHalfLife"] = f"{half_life_s:g} s"
    facts["administered"] = f"{given:%Y-%m-%d %H:%M:%S}"
    facts["decay reckoned to"] = f"{start:%Y-%m-%d %H:%M:%S}, {called}"
    facts["minutes of uptake"] = f"{elapsed_s / 60:.1f}"
    _compare_frame_times(series, half_life_s, start, notes)
    return decay_factor(elapsed_s, half_life_s)


def _compare_frame_times(series: Series, half_life_s: float, start: dt.datetime, notes: list[str]) -> None:
    """Note a Frame Reference Time that tells of another decay reference than the one that was taken."""
    worst_s = 0.0
    for file in series.files:
        try:
            since_s = float(file.header["FrameReferenceTime"].value) / 1000.0
            duration_s = float(file.header["ActualFrameDuration"].value) / 1000.0
            began_s = (_moment(file, "Acquisition") - start).total_seconds() - since_s
            # Scanners count to the time of the mean activity of a frame, or to its start.
            apart_s = min((began_s, began_s + average_time_s(duration_s, half_life_s)), key=abs)
        except (*DAMAGED, InputError):
            continue
        worst_s = apart_s if abs(apart_s) > abs(worst_s) else worst_s
    if abs(worst_s) > _REFERENCES_APART_S:
        change = 100.0 * (1.0 / decay_factor(worst_s, half_life_s) - 1.0)
        notes.append(
            f"{series.label}: its Frame Reference Times lead to a decay reference {abs(worst_s) / 60:.1f} min "
            f"{'later' if worst_s > 0 else 'earlier'} than the one that was taken, by which the SUV would be "
            f"{change:+.1f} %; ask which one the scanner means"
        )


def _administered(tracer: Dataset, start: dt.datetime, file: DicomFile, notes: list[str]) -> dt.datetime:
    """When the tracer was given, in the local time of the scan."""
    whole = tracer.get("RadiopharmaceuticalStartDateTime")
    if whole:
        try:
            moment = cast(dt.datetime, DT(str(whole)))
        except DAMAGED as error:
            raise DicomError(f"file '{file.path}': RadiopharmaceuticalStartDateTime is '{whole}', no time") from error
        return _local(moment, file, notes)
    clock = tracer.get("RadiopharmaceuticalStartTime")
    if not clock:
        raise DicomError(
            f"file '{file.path}' has neither RadiopharmaceuticalStartDateTime nor RadiopharmaceuticalStartTime, one of "
            "which an SUV needs: export it again"
        )
    given = dt.datetime.combine(start.date(), _time(str(clock), "RadiopharmaceuticalStartTime", file))
    if given > start:
        given -= dt.timedelta(days=1)
        if start - given > _OVER_MIDNIGHT:
            raise DicomError(
                f"file '{file.path}': RadiopharmaceuticalStartTime {clock} lies after the start of the scan at "
                f"{start:%H:%M:%S}, and more than {_OVER_MIDNIGHT.seconds // 3600} h before it on the day before; "
                "export RadiopharmaceuticalStartDateTime, or check the times"
            )
        notes.append("the tracer was given on the day before the scan, by its time of day")
    return given


def _local(moment: dt.datetime, file: DicomFile, notes: list[str]) -> dt.datetime:
    """A date and time in the zone of the file's other times."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=None)
    zone = re.fullmatch(r"([+-])(\d\d)(\d\d)", file.text("TimezoneOffsetFromUTC").strip())
    if zone is None:
        notes.append("the time of administration has a time zone and the scan none; both were taken as local time")
        return moment.replace(tzinfo=None)
    minutes = (60 * int(zone[2]) + int(zone[3])) * (1 if zone[1] == "+" else -1)
    return moment.astimezone(dt.timezone(dt.timedelta(minutes=minutes))).replace(tzinfo=None)


def _moment(file: DicomFile, of: str) -> dt.datetime:
    """Date and time of the series, or of the acquisition."""
    day, clock = str(file.value(f"{of}Date")), str(file.value(f"{of}Time"))
    try:
        date = cast(dt.date, DA(day))
    except DAMAGED as error:
        raise DicomError(f"file '{file.path}': {of}Date is '{day}', which is no date") from error
    return dt.datetime.combine(dt.date(date.year, date.month, date.day), _time(clock, f"{of}Time", file))


def _time(text: str, keyword: str, file: DicomFile) -> dt.time:
    try:
        found = cast(dt.time, TM(text))
        return dt.time(found.hour, found.minute, found.second, found.microsecond)
    except DAMAGED as error:
        raise DicomError(f"file '{file.path}': {keyword} is '{text}', which is no time") from error


def _tracer(file: DicomFile) -> Dataset:
    sequence = file.value("RadiopharmaceuticalInformationSequence")
    if len(sequence) != 1:
        raise DicomError(
            f"file '{file.path}' has {len(sequence)} tracers in RadiopharmaceuticalInformationSequence; expected one"
        )
    return cast(Dataset, sequence[0])


def _corrections(file: DicomFile) -> tuple[str, ...]:
    told = file.value("CorrectedImage")
    return tuple(str(part) for part in ([told] if isinstance(told, str) else told))


def _number(source: Dataset, keyword: str, file: DicomFile, where: str) -> float:
    """Return a number above 0 that has to be there."""
    told = source.get(keyword)
    if told is None or told == "":
        raise DicomError(f"file '{file.path}' has no {keyword}{where}, which an SUV needs: export it again")
    try:
        value = float(told)
    except (TypeError, ValueError) as error:
        raise DicomError(f"file '{file.path}': {keyword} is '{told}', which is no number") from error
    if not 0 < value < float("inf"):
        raise DicomError(f"file '{file.path}': {keyword} is {value:g}; expected a number above 0")
    return value


def _require_alike(series: Series, keywords: Sequence[str], told: Sequence[Dataset]) -> None:
    """Refuse a series whose files differ in what has to be the same for all."""
    for keyword in keywords:
        by_value = {str(one.get(keyword)): file for one, file in zip(told, series.files, strict=True)}
        if len(by_value) > 1:
            (one, here), (other, there), *_ = by_value.items()
            raise DicomError(
                f"{series.label}: {keyword} is {one} in '{here.path.name}' and {other} in '{there.path.name}'; "
                "expected one value for the whole series"
            )


def _require_half_life(tracer: Dataset, half_life_s: float, what: str) -> None:
    """Refuse a half-life that is not that of the nuclide which the file names."""
    names = [str(code.get("CodeMeaning", "")).lower() for code in tracer.get("RadionuclideCodeSequence") or []]
    for name in names:
        words, numbers = re.findall(r"[a-z]+", name), [int(n) for n in re.findall(r"\d+", name)]
        for (symbol, mass), known_s in _HALF_LIVES_S.items():
            named = symbol in words or any(_ELEMENTS.get(word) == symbol for word in words)
            if named and mass in numbers and abs(half_life_s / known_s - 1.0) > _HALF_LIFE_WITHIN:
                raise DicomError(
                    f"{what}: RadionuclideHalfLife is {half_life_s:g}, and that of {name} is {known_s:g} s; expected "
                    "seconds"
                )


def _other_tracer(tracer: Dataset, quantity: Quantity, what: str) -> list[str]:
    """Refuse another tracer than the quantity's; note one that is not named."""
    names = [str(tracer.get("Radiopharmaceutical") or "")]
    names += [str(code.get("CodeMeaning", "")) for code in tracer.get("RadiopharmaceuticalCodeSequence") or []]
    told = " ".join(name for name in names if name).lower()
    if not told:
        return [f"{what} does not name its tracer; {quantity.text} was taken for granted"]
    if any(part in told for part in quantity.tracer):
        return []
    for other in QUANTITIES.values():
        if any(part in told for part in other.tracer):
            raise DicomError(
                f"{what} was made with '{told}', which shows {other.id} and not {quantity.id}; name the right quantity"
            )
    return [f"{what} was made with '{told}', which is not known here; {quantity.text} was taken for granted"]
