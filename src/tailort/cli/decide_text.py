"""A protocol's decision and what it asks for, as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from tailort.protocols import Decision
    from tailort.protocols.decision import AppliedDefault, Stratum
    from tailort.protocols.treatment_records import Calendar, Course, Drugs, Part, Regimen, ToxicityAnswer, Treatment


def show(console: Console, decision: Decision, treatment: Treatment | None, everything: bool) -> None:
    """Print a decision and, where the patient is not refused, what the protocol asks for.

    Parameters
    ----------
    console : Console
        Without markup, so that brackets in names stay.
    decision, treatment : Decision, Treatment or None
        Of one patient.
    everything : bool
        Also criteria that hold, and ambiguous rules whose other reading changes nothing here.
    """
    _Page(console, everything).decision(decision)
    if treatment is not None:
        _Page(console, everything).treatment(treatment, decision)


class _Page:
    """What is printed, and where."""

    def __init__(self, console: Console, everything: bool) -> None:
        self.console = console
        self.everything = everything

    def line(self, text: str = "", depth: int = 0) -> None:
        self.console.print(f"{'  ' * depth}{text}", soft_wrap=True, highlight=False)

    def heading(self, text: str) -> None:
        self.line()
        self.console.print(text, style="bold", soft_wrap=True, highlight=False)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        from rich.table import Table

        made = list(rows)
        shown = [n for n in range(len(columns)) if any(row[n] for row in made)]
        table = Table(*(columns[n] for n in shown), box=None, padding=(0, 1, 0, 2))
        for row in made:
            table.add_row(*(row[n] for n in shown))
        if made:
            self.console.print(table)

    # The decision

    def decision(self, decision: Decision) -> None:
        status = f" ({decision.status})" if decision.status else ""
        self.line(f"{decision.protocol} {decision.version}{status}: {decision.answer}")
        for stratum in decision.strata:
            note = f" ({stratum.note})" if stratum.note else ""
            self.line(f"{stratum.table}: {stratum.told}{note}", 1)
        self.criteria("why", decision.reasons)
        for stratum in decision.strata:
            self.rows(stratum)
        if decision.missing:
            self.line(f"missing: {', '.join(decision.missing)}")
        if decision.fewest is not None:
            for answer, names in (("yes", decision.fewest.to_yes), ("no", decision.fewest.to_no)):
                if names is None:
                    self.line(f"no permitted values of the missing facts make it {answer}", 1)
                else:
                    self.line(f"could become {answer} with {len(names)}: {', '.join(names)}", 1)
            if not decision.fewest.proved:
                self.line("it is not proved that no fewer facts would do", 1)
        for stratum in decision.strata:
            if stratum.is_open:
                self.line(f"missing for {stratum.table}: {', '.join(stratum.missing)}")
                self.line(f"could be settled with {len(stratum.fewest)}: {', '.join(stratum.fewest)}", 1)
        self.readings(decision.defaults, {rule for overlay in decision.overlays for rule in overlay.rules})

    def criteria(self, title: str, reasons: Sequence[Any]) -> None:
        if not reasons:
            return
        self.line(title)
        for reason in reasons:
            if self.everything or reason.answer != "yes":
                self.reason(reason, 1)
        holds = [reason for reason in reasons if reason.answer == "yes"]
        if holds and not self.everything:
            rules = ", ".join(dict.fromkeys(reason.rule for reason in holds if reason.rule))
            self.line(f"{len(holds)} of {len(reasons)} criteria hold{f': {rules}' if rules else ''}", 1)

    def rows(self, stratum: Stratum) -> None:
        """Rows of a decision table: those that are open, or the one that holds and what was ruled out before it."""
        if not stratum.reasons:
            return
        self.line(f"why {stratum.table}: {stratum.told}")
        holds = any(reason.answer == "yes" for reason in stratum.reasons)
        for reason in stratum.reasons:
            # The rows of plans exclude each other: one that holds needs no other.
            if reason.answer == "no" and not self.everything and holds and stratum.table == "plan":
                continue
            if reason.answer == "no" and not self.everything:
                if not _not_taken(reason):
                    self.line(_first_line(reason), 1)
            else:
                self.reason(reason, 1)

    def reason(self, reason: Any, depth: int) -> None:
        self.line(_first_line(reason), depth)
        # What holds in every part says no more by its parts.
        if not self.everything and all(part.answer == "yes" for part in reason.parts):
            return
        for part in reason.parts:
            if self.everything or reason.answer == "unknown" or part.answer == reason.answer:
                self.reason(part, depth + 1)

    def readings(self, defaults: Sequence[AppliedDefault], changed: Set[str]) -> None:
        """Ambiguous rules; those that a site changed are never only counted."""
        if not defaults:
            return
        self.line("ambiguous rules, as they were read")
        silent: dict[str, list[str]] = {}
        for default in defaults:
            others = default.others
            told = self.everything or default.chosen or default.rule in changed
            if not (told or any(other.told for other in others or ())):
                why = "their other reading is told, not executed" if others is None else "another changes nothing here"
                silent.setdefault(why, []).append(default.rule)
                continue
            how = f"{default.name}, chosen" if default.chosen else default.name
            self.line(f"{default.rule} ({how}): {default.taken}", 1)
            if others is None:
                self.line(f"other reading, told only: {default.other}", 2)
            for other in others or ():
                if other.told or told:
                    changes = "; ".join(other.told) or "changes nothing for this patient"
                    self.line(f"{default.rule}={other.name} ({other.text}): {changes}", 2)
        for why, rules in silent.items():
            self.line(f"by default ({why}): {', '.join(rules)}", 1)

    # What the protocol asks for

    def treatment(self, treatment: Treatment, decision: Decision) -> None:
        sure = decision.answer == "yes"
        self.heading(
            f"What the protocol {'asks' if sure else 'would ask'} for (for review by a clinician; not an order)"
        )
        if len(treatment.courses) > 1:
            self.line("one of these courses; the facts that are missing decide", 1)
        for stratum in decision.strata:
            if stratum.table == "plan" and not stratum.possible:
                self.line("no course: none of the plans is for this patient as the record stands", 1)
        for course in treatment.courses:
            self.course(course)
        if treatment.missing:
            self.line(f"missing for what applies: {', '.join(treatment.missing)}")
        for part in treatment.statements:
            if part.applies == "yes":
                self.line(f"note: {part.text}{_cited(part.rules)}")
            else:
                self.line(f"possibly (needs {', '.join(part.missing)}): {part.text}{_cited(part.rules)}")
        if treatment.drugs is not None:
            self.drugs(treatment.drugs, treatment.rules)
        if treatment.toxicity is not None:
            self.toxicity(treatment.toxicity)
        self.calendar(treatment.calendar)
        self.parts("Follow-up", treatment.follow_up)
        self.parts("Safety", treatment.safety)
        if self.everything:
            self.parts("Endpoints", treatment.endpoints)
            self.parts("Design", treatment.design)
            self.heading("Rules that are named")
            asked = [reason for stratum in decision.strata for reason in stratum.reasons]
            named = dict(_rules_of([*decision.reasons, *asked]))
            named |= {rule: (one["text"], one["source"], one["mark"]) for rule, one in treatment.rules.items()}
            self.table(("rule", "text", "source", "mark"), ((rule, *told) for rule, told in sorted(named.items())))

    def course(self, course: Course) -> None:
        self.heading(f"Plan {course.plan}: {course.title}" if course.plan else course.title)
        for part in (*course.techniques, *course.positions):
            self.line(f"{part.name}: {part.text}{_open(part)}{_cited(part.rules)}", 1)
        self.table(
            ("target", "phase", "Gy", "fractions", "Gy/fraction", "course Gy", "EQD2 of the phase", "tied to", "rules"),
            (
                (
                    p.target, str(p.phase), f"{p.dose_gy:g}", str(p.fractions), f"{p.dose_per_fraction_gy:g}",
                    f"{p.course_gy:g}",
                    "" if p.eqd2_gy is None else f"{p.eqd2_gy:.2f} (a/b={p.alpha_beta_gy:g})",
                    p.tied_to, ", ".join(p.rules),
                )
                for p in course.prescriptions
            ),
        )  # fmt: skip
        self.table(
            ("structure", "made of", "applies", "rules"),
            ((p.name, p.text, _open(p).strip(), ", ".join(p.rules)) for p in course.targets),
        )
        self.table(
            ("limit on", "metric", "limit", "quantity", "priority", "if violated", "applies", "rule"),
            (
                (
                    one.structure, one.metric,
                    f"{one.operator} {'open' if one.limit is None else format(one.limit, 'g')}",
                    "" if one.quantity == "physical" and one.scope == "course" else _quantity(one), one.priority,
                    one.on_violation or "", _open(one).strip(), f"{', '.join(one.rules)} [{one.mark}]",
                )
                for one in course.limits
            ),
        )  # fmt: skip
        for one in course.limits:
            if one.note and not one.note.startswith("100 %"):
                self.line(f"{one.structure} {one.metric}: {one.note}{_cited(one.rules)}", 1)
        for name, parts in (
            ("fill up", course.supplements), ("after assessment", course.amendments), ("option", course.options),
            ("new image", course.images),
        ):  # fmt: skip
            for part in parts:
                self.line(f"{name}: {part.name}: {part.text}{_open(part)}{_cited(part.rules)}", 1)

    def drugs(self, drugs: Drugs, rules: Mapping[str, Mapping[str, str]]) -> None:
        self.heading(f"Drugs ({drugs.statement})")
        named = [rule for one in drugs.regimens for dose in (*one.drugs, *one.one_of) for rule in dose.rules]
        recalled = [rule for rule in dict.fromkeys(named) if rules[rule]["mark"] == "lit-recalled"]
        if recalled:
            self.line(f"recalled from the literature, not printed by the protocol: {', '.join(recalled)}", 1)
        size = drugs.body_surface
        if size is None:
            self.line("no dose: the protocol names no formula of the body surface area", 1)
        elif size.bsa_m2 is None:
            self.line(f"body surface area unknown: {', '.join(size.missing)} missing; formula {size.text}", 1)
        else:
            assert drugs.by_other_formula is not None
            other = drugs.by_other_formula
            self.line(
                f"body surface area {size.bsa_m2:.3f} m2 by {size.formula} ({size.text}){_cited(drugs.rules)}; "
                f"{other.bsa_m2:.3f} m2 by {other.formula}",
                1,
            )
        for regimen in drugs.regimens:
            self.regimen(regimen)
        for part in drugs.support:
            self.line(f"{part.name}: {part.text}{_cited(part.rules)}", 1)

    def regimen(self, regimen: Regimen) -> None:
        title = regimen.id if regimen.id == regimen.setting else f"{regimen.id} ({regimen.setting})"
        if regimen.applies == "no":
            self.line(f"{title}: not for this patient{_cited(regimen.rules)}", 1)
            return
        told = [] if regimen.applies == "yes" else [f"open, needs {', '.join(regimen.missing)}"]
        if regimen.cycles:
            told.append(f"{' or '.join(str(n) for n in regimen.cycles)} cycles")
        if regimen.cycle_days is not None:
            told.append(f"every {regimen.cycle_days} days")
        if regimen.within_months is not None:
            told.append(f"within {regimen.within_months:g} months")
        if regimen.left_to is not None:
            told.append(f"the text names no drug: left to the {regimen.left_to}")
        if regimen.same_as is not None:
            told.append(f"drugs and doses of {regimen.same_as}")
        self.line(f"{title}: {'; '.join(told)}{_cited(regimen.rules)}", 1)
        if regimen.same_as is None:
            alternatives = {dose.drug for dose in regimen.one_of}
            self.doses("", regimen.drugs, set())
            self.doses("one of", regimen.one_of, alternatives)
            if regimen.next_cycle:
                self.line("next cycle, as the toxicity that is known asks", 2)
                self.doses("", regimen.next_cycle, alternatives)

    def doses(self, title: str, drugs: Sequence[Any], alternatives: set[str]) -> None:
        if title and drugs:
            self.line(f"{title}: {' or '.join(drug.drug for drug in drugs)}", 2)
        self.table(
            ("drug", "reading of the text", "taken", "mg by day", "mg a cycle", "capped", "rules"),
            (
                (
                    drug.drug, dose.text,
                    "default" if dose.reading == drug.taken else "none is" if drug.taken is None else "no",
                    ", ".join(f"d{day} {mg:.1f}" for day, mg in dose.mg_by_day),
                    "" if dose.mg_per_cycle is None else f"{dose.mg_per_cycle:.1f}",
                    "yes" if dose.capped else "", ", ".join(drug.rules),
                )
                for drug in drugs
                for dose in drug.doses
            ),
        )  # fmt: skip

    def toxicity(self, toxicity: ToxicityAnswer) -> None:
        self.heading("Toxicity")
        if toxicity.graded:
            action = toxicity.action or "full dose"
            if toxicity.action == "reduce-dose":
                action += f" to {100 * (toxicity.dose_factor or 0):g} %"
            self.line(f"{'at least ' if toxicity.missing else ''}{action}", 1)
            if toxicity.missing:
                self.line(f"more severe is possible with: {', '.join(toxicity.missing)}", 1)
        else:
            self.line("the record has no grade yet; what each would call for:", 1)
        self.table(
            ("if", "action", "holds", "rules"),
            (
                (
                    line.condition,
                    line.action + (f" to {100 * line.dose_factor:g} %" if line.dose_factor is not None else ""),
                    line.answer if toxicity.graded else "", ", ".join(line.rules),
                )
                for line in toxicity.lines
                if self.everything or not toxicity.graded or line.answer != "no"
            ),
        )  # fmt: skip

    def calendar(self, calendar: Calendar) -> None:
        if not (calendar.appointments or calendar.missing):
            return
        self.heading("Dates, as planned")
        for note in calendar.notes:
            self.line(f"note: {note}", 1)
        if calendar.missing:
            self.line(f"no dates without: {', '.join(calendar.missing)}", 1)
        self.table(
            ("from", "to", "what", "rules"),
            (
                (
                    one.first_day.isoformat(), "" if one.last_day == one.first_day else one.last_day.isoformat(),
                    one.what, ", ".join(one.rules),
                )
                for one in calendar.appointments
            ),
        )  # fmt: skip

    def parts(self, title: str, parts: Sequence[Part]) -> None:
        if parts:
            self.heading(title)
            self.table(("what", "how", "rules"), ((part.name, part.text, ", ".join(part.rules)) for part in parts))


def _rules_of(reasons: Iterable[Any]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for reason in reasons:
        if reason.rule:
            yield reason.rule, (reason.rule_text, reason.source, reason.mark)
        yield from _rules_of(reason.parts)


def _not_taken(reason: Any) -> bool:
    """Whether a row is ruled out by the reading alone, which another place tells."""
    return any(part.answer == "no" and not part.facts and " is read as " in part.condition for part in reason.parts)


def _first_line(reason: Any) -> str:
    return f"{reason.rule} [{reason.mark}] {reason.text}" if reason.rule else str(reason.text)


def _cited(rules: Sequence[str]) -> str:
    return f" [{', '.join(rules)}]" if rules else ""


def _open(part: Any) -> str:
    return "" if part.applies == "yes" else f" (only perhaps: needs {', '.join(part.missing)})"


def _quantity(limit: Any) -> str:
    ratio = f"(a/b={limit.alpha_beta_gy:g})" if limit.alpha_beta_gy is not None else ""
    return f"{limit.quantity}{ratio}{'' if limit.scope == 'course' else ', all courses'}"
