"""Tables of a report on rules: what led to which structure and number, and what the images and first plans showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tailort.protocols import Decision, Protocol
from tailort.protocols.condition import FIRED
from tailort.protocols.decision import AppliedDefault
from tailort.protocols.proposals import Individual
from tailort.workflow.tracing import defaults_used, doses_traced, numbers_traced, structures_traced

if TYPE_CHECKING:
    from tailort.workflow.records import AmendmentFinding, Evaluation, PlanningRun

_KINDS = {"yes": "fail", "no": "pass", "unknown": "unknown"}


def rule_tables(run: PlanningRun) -> dict[str, Any]:
    """Return what the report shows of rules; each rule comes with its text and mark."""
    traces = [(trace, "") for trace in numbers_traced(run.protocol)]
    traces += [
        (trace, " (superseded)")
        for found in run.amendments
        if found.protocol is not None
        for trace in doses_traced(found.protocol)
    ]
    return {
        "numbers": [
            {
                "of": f"{trace.of}{note}",
                "told": trace.told,
                "rules": _cited(run.protocol, run.decision, trace.rules),
            }
            for trace, note in traces
        ],
        "strata": strata(run.decision),
        "amendments": amendment_rows(run.amendments, run.protocol, run.decision),
        "imaging": [
            {
                "requirement": row.requirement,
                "found": row.found,
                "verdict": row.verdict,
                "kind": "report" if row.verdict == "note" else row.verdict,
                "rules": _cited(run.protocol, run.decision, row.rules),
            }
            for row in run.imaging
        ],
        "flags": [{"text": flag.text, "rules": _cited(run.protocol, run.decision, flag.rules)} for flag in run.flags],
    }


def evaluation_rule_tables(result: Evaluation) -> dict[str, Any]:
    """Return what the report of an existing dose shows of rules; see `rule_tables`."""
    protocol = result.protocol
    amendments = [] if protocol is None else amendment_rows(result.amendments, protocol, result.decision)
    return {"numbers": [], "amendments": amendments, "imaging": [], "flags": []}


def amendment_rows(
    amendments: Sequence[AmendmentFinding], protocol: Protocol, decision: Decision | None
) -> list[dict[str, Any]]:
    """What plans were measured for, and what follows of their doses."""
    return [
        {
            "plan": found.plan,
            "asked": found.entry.asked,
            "found": "unknown" if found.measured is None else f"{found.measured:.2f}",
            "then": f"superseded: {found.follows}" if found.superseded is not None else found.follows,
            "kind": "unknown" if found.is_measured_low else _KINDS[found.due],
            "rules": _cited(protocol, decision, found.entry.rules),
        }
        for found in amendments
    ]


def amendment_warnings(amendments: Sequence[AmendmentFinding]) -> list[str]:
    """What of amendments stands at the top of a report."""
    said: dict[tuple[str, bool], str] = {
        ("yes", True): "Amended", ("yes", False): "Not amended", ("unknown", False): "Not known whether to amend",
    }  # fmt: skip
    return [
        f"{said.get((found.due, found.is_made), 'Measured on a plan with less than its dose')}. {found.text}."
        for found in amendments
        if found.due != "no" or found.is_measured_low
    ]


def rule_warnings(run: PlanningRun) -> list[str]:
    """What of it stands at the top of the report."""
    told = amendment_warnings(run.amendments)
    told += [
        f"Imaging requirement not kept: {row.requirement}; found: {row.found} ({', '.join(row.rules)})."
        for row in run.imaging
        if row.verdict == "fail"
    ]
    return told


def overlay_warnings(protocol: Protocol | None) -> list[str]:
    """Hard limits that a site has loosened."""
    return [] if protocol is None else [text for overlay in protocol.overlays for text in overlay.warnings]


def trigger_table(
    title: str, note: str, triggers: Sequence[Individual], asked: str, *, with_missing: bool = False
) -> dict[str, Any]:
    """What triggers say, and why; `asked` heads what each proposes, and `with_missing` adds the facts that lack."""
    return {
        "title": title,
        "note": note,
        "header": ["trigger", "answer", "why", *["facts that are missing"] * with_missing, asked, "rules"],
        "rows": [
            [
                one.entry.text, FIRED[one.answer], one.reason, *[", ".join(one.missing)] * with_missing,
                "; ".join(act.text for act in one.proposed),
                ", ".join(dict.fromkeys((*one.entry.rules, *(rule for act in one.proposed for rule in act.rules)))),
            ]
            for one in triggers
        ],
    }  # fmt: skip


def made_tables(run: PlanningRun) -> list[dict[str, Any]]:
    """Volumes that were made: how, how large, and by which rules."""
    plans = (run.main, run.comparator, *run.superseded)
    volumes = {d.structure: d.volume_cm3 for plan in plans if plan for d in plan.dvhs}
    rules = {trace.of.lower(): trace.rules for trace in structures_traced(run.protocol)}
    return [
        {
            "name": s.name,
            "volume": f"{volumes[s.name]:.1f}" if s.name in volumes else "",
            "steps": s.made_by,
            "rules": _cited(run.protocol, run.decision, rules.get(s.name.lower(), ())),
        }
        for s in run.structures
        if s.made_by
    ]


def strata(decision: Decision) -> list[dict[str, Any]]:
    """What each decision table says, with the rows that were asked."""
    return [
        {
            "table": stratum.table,
            "text": stratum.text,
            "told": stratum.told + (f": {stratum.note}" if stratum.note else ""),
            "reasons": [{"id": r.rule, "text": r.text, "answer": r.answer, "mark": r.mark} for r in stratum.reasons],
        }
        for stratum in decision.strata
    ]


def default_tables(decision: Decision, protocol: Protocol) -> dict[str, list[dict[str, Any]]]:
    """Ambiguous rules as they were read: those on which the plan rests with what rests on them, then the others."""
    used = defaults_used(decision, protocol)
    named = {default.rule for default, _ in used}
    return {
        "used": [{**_default(default), "for": ", ".join(names)} for default, names in used],
        "others": [_default(default) for default in decision.defaults if default.rule not in named],
    }


def _cited(protocol: Protocol, decision: Decision | None, rules: Sequence[str]) -> list[Mapping[str, str]]:
    """Rules with text and mark, and how an ambiguous one was read."""
    defaults = () if decision is None else decision.defaults
    taken = {default.rule: f" Read as: {default.taken}." for default in defaults}
    return [
        {"id": rule.id, "text": f"{rule.text}{taken.get(rule.id, '')}", "mark": rule.mark}
        for rule in map(protocol.rule, rules)
    ]


def _default(default: AppliedDefault) -> dict[str, Any]:
    changes = [
        f"{default.rule}={other.name}: {'; '.join(other.told) or 'changes nothing for this patient'}"
        for other in default.others or ()
    ]
    return {
        "id": default.rule,
        "taken": default.taken + (" (named by a person)" if default.chosen else ""),
        "other": default.other,
        "changes": changes,
    }
