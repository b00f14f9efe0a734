"""A decision and a course as FHIR: JSON with the profile names of mCODE and CodeX Radiation Therapy.

Only what is known is written; a resource names a profile only where it has what the profile asks for.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tailort.errors import InputError
from tailort.patient import Prescription
from tailort.protocols.decision import Decision

Stage = Literal["prescribed", "planned", "delivered"]
# Allowed for a course summary by the CodeX profile.
DELIVERED_STATUSES = ("in-progress", "not-done", "on-hold", "stopped", "completed")

_CODEX = "http://hl7.org/fhir/us/codex-radiation-therapy/StructureDefinition/"
_MCODE = "http://hl7.org/fhir/us/mcode/StructureDefinition/"
_SNOMED = "http://snomed.info/sct"
_LOCAL = "urn:tailort:codes"
_NAMESPACE = uuid.UUID("6f2b7a3e-4f0c-5d57-9f0a-5a2f5d0c7c11")
_COURSE = ("radiation oncology", "course of treatment")
CGY_PER_GY = 100


@dataclass(frozen=True)
class FhirName:
    """A name of a FHIR guide that is written, and how sure it is.

    Parameters
    ----------
    url : str
        Of the profile, extension or code.
    mark : {"lit-verified", "lit-recalled", "derived"}
        Seen in the guide's own files, remembered, or made here.
    source : str
        Where it was seen.
    """

    url: str
    mark: Literal["lit-verified", "lit-recalled", "derived"]
    source: str


_GUIDE = "files of CodeX Radiation Therapy 2.0.0 (NM-160 to NM-166)"
_EXAMPLE = "example XRTS-03 of CodeX Radiation Therapy"
FHIR_NAMES: dict[str, FhirName] = {
    "volume": FhirName(_CODEX + "codexrt-radiotherapy-volume", "lit-verified", _GUIDE),
    "mcode volume": FhirName(_MCODE + "mcode-radiotherapy-volume", "lit-verified", _EXAMPLE),
    "prescribed": FhirName(_CODEX + "codexrt-radiotherapy-course-prescription", "lit-verified", _GUIDE),
    "planned": FhirName(_CODEX + "codexrt-radiotherapy-planned-course", "lit-verified", _GUIDE),
    "delivered": FhirName(_CODEX + "codexrt-radiotherapy-course-summary", "lit-verified", _GUIDE),
    "mcode delivered": FhirName(_MCODE + "mcode-radiotherapy-course-summary", "lit-verified", _EXAMPLE),
    "dose prescribed": FhirName(_CODEX + "codexrt-radiotherapy-dose-prescribed-to-volume", "lit-verified", _GUIDE),
    "dose planned": FhirName(_CODEX + "codexrt-radiotherapy-dose-planned-to-volume", "lit-verified", _EXAMPLE),
    "dose delivered": FhirName(_MCODE + "mcode-radiotherapy-dose-delivered-to-volume", "lit-verified", _EXAMPLE),
    "uniform": FhirName(_CODEX + "codexrt-radiotherapy-uniform-fractionation", "lit-verified", _EXAMPLE),
    "re-irradiation": FhirName(
        _CODEX + "codexrt-radiotherapy-course-involves-reirradiation", "lit-verified", "examples XRTS-05 and XRTS-06"
    ),
    "intent prescribed": FhirName(
        "http://hl7.org/fhir/request-intent|original-order",
        "lit-recalled",
        "FHIR R4; not seen in the guide's own files",
    ),
    "intent planned": FhirName("http://hl7.org/fhir/request-intent|filler-order", "lit-verified", _EXAMPLE),
    "radiation oncology": FhirName(_SNOMED + "|108290001", "lit-verified", _EXAMPLE),
    "course of treatment": FhirName(_SNOMED + "|1217123003", "lit-verified", _EXAMPLE),
    "planning target volume": FhirName(_SNOMED + "|228793007", "lit-verified", _EXAMPLE),
    "decision": FhirName(_LOCAL + "|protocol-decision", "derived", "NM-173: no profile has it, so a local code"),
    "absent": FhirName(
        "http://terminology.hl7.org/CodeSystem/data-absent-reason", "lit-recalled", "FHIR R4 terminology"
    ),
}


def course_bundle(
    patient_id: str,
    course: Sequence[Prescription],
    stage: Stage,
    *,
    volume_uids: Mapping[str, str] | None = None,
    reirradiation: bool | None = None,
    status: str | None = None,
    uniform: Mapping[str, bool] | None = None,
    decision: Decision | None = None,
) -> dict[str, Any]:
    """Return a FHIR R4 collection of one course and, where it is given, the decision that led to it.

    Parameters
    ----------
    patient_id : str
        Pseudonym; nothing else of the person is written.
    course : sequence of Prescription
        What each target gets in all phases, physical dose in Gy per course, each target once.
    stage : {"prescribed", "planned", "delivered"}
        What the doses are.
    volume_uids : dict of str
        DICOM UID of targets by name. A volume without one names no profile, because the profile asks for one.
    reirradiation : bool or None
        Whether the course goes over an earlier one; None is not told.
    status : str or None
        Of a delivered course, which must tell it; the others are drafts.
    uniform : dict of bool or None
        Of a delivered course: whether all fractions of a target had the same dose. Without it for every target the
        CodeX profile, which asks for it, is not named.
    decision : Decision or None
        The protocol's answer.

    Returns
    -------
    dict
        Ready for JSON, the same for the same input. `meta.tag` of each resource tells the mark of the names in it.

    Raises
    ------
    InputError
        No course and no decision, a target twice, or a status that does not fit.

    References
    ----------
    HL7 FHIR 4.0.1; mCODE 4.0.0; CodeX Radiation Therapy 2.0.0.
    """
    if not patient_id:
        raise InputError("a FHIR export needs the pseudonym of the patient")
    if not course and decision is None:
        raise InputError("a FHIR export needs a course or a decision; found neither")
    if (status in DELIVERED_STATUSES) != (stage == "delivered") or (stage != "delivered" and status is not None):
        raise InputError(
            f"the status of a delivered course is one of {', '.join(DELIVERED_STATUSES)}, that of another is left out; "
            f"found {status!r} for a {stage} course"
        )
    names = [p.target for p in course]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"target '{twice}' is in the course twice: give the sum of its phases, as Protocol.course does"
        )
    uids, same = volume_uids or {}, uniform or {}
    patient = _entry(patient_id, "patient", _patient(patient_id))
    subject = {"reference": patient["fullUrl"]}
    volumes = {
        p.target: _entry(patient_id, f"volume {p.target}", _volume(p.target, uids.get(p.target), subject))
        for p in course
    }
    entries = [patient, *volumes.values()]
    if course:
        references = {name: {"reference": entry["fullUrl"], "display": name} for name, entry in volumes.items()}
        made = (
            _delivered(course, references, same, reirradiation, str(status))
            if stage == "delivered"
            else _requested(course, references, stage, reirradiation)
        )
        entries.append(_entry(patient_id, f"{stage} course", made | {"subject": subject}))
    if decision is not None:
        entries.append(_entry(patient_id, f"decision {decision.protocol}", _decision(decision, subject)))
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _entry(patient_id: str, what: str, resource: dict[str, Any]) -> dict[str, Any]:
    return {"fullUrl": f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{patient_id}|{what}')}", "resource": resource}


def _patient(patient_id: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"use": "secondary", "value": patient_id}]}


def _volume(name: str, uid: str | None, subject: dict[str, str]) -> dict[str, Any]:
    identifiers: list[dict[str, str]] = [{"use": "usual", "value": name}]
    used = []
    if uid is not None:
        identifiers.append({"use": "official", "system": "urn:dicom:uid", "value": f"urn:oid:{uid}"})
        used += ["volume", "mcode volume"]
    volume: dict[str, Any] = {"resourceType": "BodyStructure", "identifier": identifiers}
    is_ptv = name.upper().startswith("PTV")
    if is_ptv:
        volume["morphology"] = _coded("228793007", "Planning target volume (observable entity)")
    if used or is_ptv:
        volume["meta"] = _meta(used, ["planning target volume"] if is_ptv else [])
    return {**volume, "description": name, "patient": subject}


def _requested(
    course: Sequence[Prescription],
    volumes: Mapping[str, dict[str, str]],
    stage: Literal["prescribed", "planned"],
    reirradiation: bool | None,
) -> dict[str, Any]:
    """A course that is prescribed or planned."""
    doses: list[dict[str, Any]] = [
        {
            "extension": [
                {"url": "volume", "valueReference": volumes[p.target]},
                {"url": "totalDose", "valueQuantity": _dose(p)},
                {"url": "fractions", "valuePositiveInt": p.fractions},
            ],
            "url": FHIR_NAMES[f"dose {stage}"].url,
        }
        for p in course
    ]
    return {
        "resourceType": "ServiceRequest",
        "meta": _meta([stage], [f"dose {stage}", f"intent {stage}", *_COURSE, *_used(reirradiation)]),
        "extension": [*doses, *_over_an_earlier_one(reirradiation)],
        "status": "draft",
        "intent": "original-order" if stage == "prescribed" else "filler-order",
        "category": [_category()],
        "code": _treatment(),
    }


def _delivered(
    course: Sequence[Prescription],
    volumes: Mapping[str, dict[str, str]],
    uniform: Mapping[str, bool],
    reirradiation: bool | None,
    status: str,
) -> dict[str, Any]:
    """The summary of a course that was given."""
    extensions: list[dict[str, Any]] = []
    for p in course:
        parts: list[dict[str, Any]] = [{"url": "volume", "valueReference": volumes[p.target]}]
        if p.target in uniform:
            parts.append({"url": FHIR_NAMES["uniform"].url, "valueBoolean": uniform[p.target]})
        parts += [
            {"url": "totalDoseDelivered", "valueQuantity": _dose(p)},
            {"url": "fractionsDelivered", "valueUnsignedInt": p.fractions},
        ]
        extensions.append({"extension": parts, "url": FHIR_NAMES["dose delivered"].url})
    others = ["dose delivered", *_COURSE, *_used(reirradiation)]
    whole = all(p.target in uniform for p in course)
    return {
        "resourceType": "Procedure",
        "meta": _meta([*(["delivered"] if whole else []), "mcode delivered"], others),
        "extension": [*extensions, *_over_an_earlier_one(reirradiation)],
        "status": status,
        "category": _category(),
        "code": _treatment(),
    }


def _used(reirradiation: bool | None) -> tuple[str, ...]:
    return () if reirradiation is None else ("re-irradiation",)


def _over_an_earlier_one(reirradiation: bool | None) -> list[dict[str, Any]]:
    return [{"url": FHIR_NAMES[name].url, "valueBoolean": reirradiation} for name in _used(reirradiation)]


def _dose(p: Prescription) -> dict[str, Any]:
    """Physical dose of the course; the guides fix the unit cGy."""
    return {
        "value": round(p.dose_gy * CGY_PER_GY, 6),
        "unit": "cGy",
        "system": "http://unitsofmeasure.org",
        "code": "cGy",
    }


def _category() -> dict[str, Any]:
    return _coded("108290001", "Radiation oncology AND/OR radiotherapy")


def _treatment() -> dict[str, Any]:
    return _coded("1217123003", "Radiotherapy course of treatment (regime/therapy)")


def _decision(decision: Decision, subject: dict[str, str]) -> dict[str, Any]:
    """The protocol's answer; unknown is an absent value with the facts that are missing, never a no."""
    observation: dict[str, Any] = {
        "resourceType": "Observation",
        "meta": _meta([], ["decision", *(["absent"] if decision.answer == "unknown" else [])]),
        "status": "final",
        "code": {
            "coding": [{"system": _LOCAL, "code": "protocol-decision"}],
            "text": f"Protocol {decision.protocol} {decision.version} admits the patient",
        },
        "subject": subject,
    }
    if decision.answer == "unknown":
        observation["status"] = "preliminary"
        observation["dataAbsentReason"] = {"coding": [{"system": FHIR_NAMES["absent"].url, "code": "unknown"}]}
        observation["note"] = [{"text": f"Missing: {', '.join(decision.missing)}"}]
    else:
        observation["valueBoolean"] = decision.answer == "yes"
    told = [
        {
            "code": {"text": f"{reason.rule}: {reason.condition}" if reason.rule else reason.condition},
            "valueString": reason.text,
        }
        for reason in decision.reasons
    ]
    return observation | ({"component": told} if told else {})


def _meta(profiles: Sequence[str], others: Sequence[str]) -> dict[str, Any]:
    """Profiles of a resource, and the marks of every name in it."""
    marks = dict.fromkeys(FHIR_NAMES[name].mark for name in (*profiles, *others))
    meta: dict[str, Any] = {"tag": [{"system": f"{_LOCAL}:mark", "code": mark} for mark in marks]}
    if profiles:
        meta["profile"] = [FHIR_NAMES[name].url for name in profiles]
    return meta


def _coded(code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": _SNOMED, "code": code, "display": display}]}
