"""Doses of scorecards, joined to the patients of a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tailort.cohort.patients import FollowedPatient, Patients
from tailort.errors import InputError


def with_scorecards(
    patients: Sequence[FollowedPatient], cards: Mapping[str, Sequence[Mapping[str, object]]]
) -> Patients:
    """Add the metrics of scorecards, joined by pseudonym; a value that is not known stays absent.

    Parameters
    ----------
    patients : sequence of FollowedPatient
        Of the cohort.
    cards : dict
        Rows of a scorecard (`structure`, `metric`, `quantity`, `scope`, `value`) by pseudonym.

    Raises
    ------
    InputError
        When a scorecard is nobody's, a row is no row of a scorecard, or it contradicts the table or itself.
    """
    strangers = sorted(set(cards) - {patient.pseudonym for patient in patients})
    if strangers:
        raise InputError(f"the scorecard of '{strangers[0]}' belongs to no patient of the table; correct its folder")
    made = []
    for patient in patients:
        metrics = dict(patient.metrics)
        for row in cards.get(patient.pseudonym, ()):
            try:
                name = " ".join(str(row[key]) for key in ("structure", "metric", "quantity", "scope"))
                value = row["value"]
            except (KeyError, TypeError) as error:
                raise InputError(
                    f"the scorecard of '{patient.pseudonym}' has a row without structure, metric, quantity, scope or "
                    "value; make it anew"
                ) from error
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            if metrics.setdefault(name, float(value)) != float(value):
                raise InputError(
                    f"'{name}' of '{patient.pseudonym}' is {metrics[name]:g} and, in its scorecard, {value:g}; correct "
                    "one"
                )
        made.append(replace(patient, metrics=metrics))
    return Patients(made)
