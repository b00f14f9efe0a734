"""What individualises a treatment: modifiers that propose, and triggers of adaptation during the course.

Neither changes anything by itself. A proposal on a limit can only be stricter than what is in force, and a dose above
what the protocol prints waits for a person's signature (`proposals`).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from tailort.errors import InputError
from tailort.patient import Metric
from tailort.patient.prescription import Operator, Priority
from tailort.protocols.condition import Condition
from tailort.protocols.section import Count, Name, Positive, Section

Guidance = Literal["anatomical", "functional", "none"]
# Evidence on groups of patients, and data of this patient.
_KINDS = {
    "group": ("guideline", "trial", "study", "practice"),
    "individual": ("clinical", "pathological", "molecular", "genetic", "anatomical", "functional"),
}


class EvidenceEntry(Section):
    """What a modifier or trigger rests on: evidence on a `group` of patients, or data of the `individual`."""

    level: Literal["group", "individual"]
    kind: Literal[
        "guideline", "trial", "study", "practice",
        "clinical", "pathological", "molecular", "genetic", "anatomical", "functional",
    ]  # fmt: skip
    text: str = ""
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _kind_is_of_its_level(self) -> Self:
        if self.kind not in _KINDS[self.level]:
            raise ValueError(f"evidence on the {self.level} is one of {', '.join(_KINDS[self.level])}; not {self.kind}")
        return self

    @property
    def told(self) -> str:
        """The level in words."""
        return f"{self.level}: {self.kind}{f' ({self.text})' if self.text else ''}"


class ProtocolProposal(Section):
    """Another protocol that this patient may belong to; `protocol` is its id in the library."""

    propose: Literal["protocol"]
    protocol: Name
    rules: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The proposal in words."""
        return f"ask protocol '{self.protocol}'"


class SubvolumeProposal(Section):
    """A part of `structure` that is delineated by what it shows (`by`), and may get another dose than the rest."""

    propose: Literal["subvolume"]
    structure: Name
    by: Name
    rules: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The proposal in words."""
        return f"delineate a subvolume of {self.structure} by {self.by}"


class DoseProposal(Section):
    """Another physical dose of the course to a target; outside of what the protocol prints only with `sign_off`."""

    propose: Literal["dose"]
    target: Name
    dose_gy: Annotated[float, Field(gt=0, le=200, allow_inf_nan=False)]
    fractions: Count
    sign_off: Literal["required"] | None = None
    rules: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The proposal in words."""
        return f"{self.dose_gy:g} Gy in {self.fractions} fractions to {self.target}"


class LimitProposal(Section):
    """A stricter limit."""

    propose: Literal["limit"]
    structure: Name
    metric: str
    operator: Operator
    limit: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    priority: Priority
    percent_of: Name | None = None
    quantity: Literal["physical", "BED", "EQD2"] = "physical"
    alpha_beta_gy: Positive | None = None
    scope: Literal["course", "cumulative"] = "course"
    rules: tuple[str, ...] = ()

    @field_validator("metric")
    @classmethod
    def _is_metric(cls, text: str) -> str:
        try:
            return str(Metric.parse(text))
        except InputError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _quantity_is_whole(self) -> Self:
        if (self.quantity == "physical") != (self.alpha_beta_gy is None):
            raise ValueError("BED and EQD2 need 'alpha_beta_gy', physical dose has none")
        return self

    @property
    def told(self) -> str:
        """The proposal in words."""
        unit = f" % of {self.percent_of}" if self.percent_of else ""
        return f"{self.structure} {self.metric} {self.operator} {self.limit:g}{unit} ({self.quantity}, {self.priority})"


class AskProposal(Section):
    """Something that a person does: another image, a test, a review of the case."""

    propose: Literal["image", "test", "review"]
    text: Name
    rules: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The proposal in words."""
        return f"{self.propose}: {self.text}"


ProposalEntry = Annotated[
    ProtocolProposal | SubvolumeProposal | DoseProposal | LimitProposal | AskProposal, Field(discriminator="propose")
]


class ModifierEntry(Section):
    """What is proposed for patients of whom `when` holds: a group of patients, or one person over time."""

    id: Name
    text: Name
    between: Literal["groups", "individuals"]
    guidance: Guidance
    evidence: EvidenceEntry
    when: Condition
    proposes: tuple[ProposalEntry, ...] = Field(min_length=1)
    rules: tuple[str, ...] = ()


class ActionEntry(Section):
    """What follows from a trigger, done by people; `text` tells how."""

    action: Literal[
        "new-image", "adjust-target", "revise-dose", "revise-fractionation", "re-plan", "sum-doses", "review"
    ]
    text: str = ""
    rules: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The action in words."""
        return f"{self.action}{f': {self.text}' if self.text else ''}"


class TriggerEntry(Section):
    """A change during the course that asks for `actions`; `change` says what changed."""

    id: Name
    text: Name
    change: Literal["dose", "coverage", "organ", "anatomy", "tumour", "biology", "motion"]
    guidance: Guidance
    evidence: EvidenceEntry
    when: Condition
    actions: tuple[ActionEntry, ...] = Field(min_length=1)
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _a_new_plan_is_summed(self) -> Self:
        acts = {entry.action for entry in self.actions}
        if acts & {"re-plan", "revise-dose", "revise-fractionation"} and "sum-doses" not in acts:
            raise ValueError(
                "a trigger that changes the plan has 'sum-doses' among its actions: what was delivered and what remains"
            )
        return self
