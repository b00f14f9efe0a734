"""Tables of a cohort as papers print them: definitions, characteristics, rates, medians, tests, hazard ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tailort.cohort.summaries import QUARTILES, CategorySummary, Characteristic, NumberSummary
from tailort.web.cohort_cells import ALL, CANNOT, p_told, quantile_told, rate_told, share
from tailort.web.cohort_toxicity_tables import doses, subgroups, thresholds, toxicity
from tailort.web.plain_tables import PlainTable
from tailort.workflow.cohort_records import MONTHS_A_YEAR, CohortAnalysis, EndpointAnalysis, GroupOutcome

# Longer tables stand in their CSV file alone.
MOST_ROWS = 500
# Units at the end of the names of facts.
_UNITS = {
    "years": "years",
    "gy": "Gy",
    "cm": "cm",
    "mm": "mm",
    "kg": "kg",
    "days": "days",
    "percent": "%",
    "cm3": "cm3",
}
# Names of facts that people do not write so.
_WRITTEN = {
    "kps": "Karnofsky performance status",
    "sins": "SINS",
    "ct": "CT",
    "bilsky": "Bilsky",
    "bmi": "body mass index",
}


def to_read(table: PlainTable) -> PlainTable:
    """A table as long as a person reads it, which says where the rest is."""
    if len(table.rows) <= MOST_ROWS:
        return table
    told = f"The first {MOST_ROWS} of {len(table.rows)} rows; all of them are in tables/{table.name}.csv."
    return replace(table, note=" ".join(part for part in (told, table.note) if part), rows=table.rows[:MOST_ROWS])


def result_tables(result: CohortAnalysis) -> list[PlainTable]:
    """Every table of what was found in the patients, in the order of a paper."""
    told = [one for one in result.endpoints if one.times is not None and one.overall is not None]
    tables = [definitions(result.endpoints), left_out(told), characteristics(result)]
    if told:
        tables += [rates(told), follow_up(told)]
    if any(one.tests for one in told):
        tables += [tests(told), hazards(told)]
    if result.adverse_events is not None:
        tables += toxicity(result.adverse_events)
    if result.doses is not None:
        tables += [doses(result.doses), thresholds(result.doses)]
    tables += [subgroups(one) for one in result.subgroups]
    return [table for table in tables if table.rows]


def definitions(endpoints: Sequence[EndpointAnalysis]) -> PlainTable:
    """How every endpoint is defined, and which reading of an ambiguous rule is taken."""
    rows = []
    for one in endpoints:
        asked = one.endpoint
        rows.append(
            (
                f"{asked.name} ({asked.kind})", asked.counted_from, "; ".join(asked.events),
                "; ".join(asked.competing) or "none", asked.censored_at,
                ", ".join(str(year) for year in asked.at_years) or "none", " ".join(asked.rules),
                "; ".join(asked.readings) or "none", one.unknown or "told",
            )
        )  # fmt: skip
    header = ("endpoint", "counted from", "events", "competing events", "censored at", "at years", "rules",
              "readings taken of ambiguous rules", "in this table")  # fmt: skip
    return PlainTable("endpoints", "Definitions of the endpoints", "", header, tuple(rows))


def left_out(endpoints: Sequence[EndpointAnalysis]) -> PlainTable:
    """Patients of whom an endpoint is not known, and why."""
    rows = [
        (one.endpoint.name, name, why)
        for one in endpoints
        if one.times is not None
        for name, why in sorted(one.times.left_out.items())
    ]
    return PlainTable(
        "left_out", "Patients left out, and why", "They count in no estimate of that endpoint.",
        ("endpoint", "patient", "why"), tuple(rows),
    )  # fmt: skip


def characteristics(result: CohortAnalysis) -> PlainTable:
    """Median [quartiles] (range) of numbers, n (%) of categories."""
    groups = list(result.characteristics[0].groups) if result.characteristics else []
    rows: list[tuple[str, ...]] = []
    for one in result.characteristics:
        if one.fact == result.options.by:
            continue
        rows += _number_rows(one, groups) if one.kind == "number" else _category_rows(one, groups)
    sizes = [sum(value == group for value in result.groups.values()) for group in groups]
    header: tuple[str, ...] = ("", f"{ALL} (n = {len(result.patients)})")
    header += tuple(f"{group} (n = {size})" for group, size in zip(groups, sizes, strict=True))
    note = (
        f"Numbers: median [quartiles] (range), {QUARTILES}. Categories: n (% of the patients of whom it is known). "
        "Whole numbers from 0 to 5 are counted as categories."
    )
    reasons = dict.fromkeys(result.not_summarised.values())
    for why in reasons:
        facts = [fact for fact, told in result.not_summarised.items() if told == why]
        note += f" Left out, {why}: {', '.join(facts)}."
    return PlainTable("characteristics", "Characteristics of the patients", note, header, tuple(rows))


def rates(endpoints: Sequence[EndpointAnalysis]) -> PlainTable:
    """Events, medians and rates at the years of the protocol."""
    years = sorted({year for one in endpoints for year in one.endpoint.at_years})
    rows = []
    for one in endpoints:
        assert one.overall is not None
        for outcome in (one.overall, *one.groups):
            rows += [_rate_row(one, outcome, years)]
            for n, cause in enumerate(one.endpoint.competing):
                at = dict(zip(one.endpoint.at_years, outcome.competing_rates[n], strict=True))
                cells = [rate_told(at.get(year)) for year in years]
                rows.append((f"{one.endpoint.name}: {cause} first", outcome.name or ALL, str(outcome.patients),
                             str(outcome.competing[n]), "", *cells))  # fmt: skip
    note = (
        "Event-free share by Kaplan-Meier (Greenwood's variance, log-log intervals); cumulative incidence by "
        "Aalen-Johansen (Aalen's variance, log-log intervals) where events compete. 95 % intervals in brackets, with "
        "the patients at risk then. Beyond the last follow-up nothing can be told."
    )
    header = (
        "endpoint",
        "patients",
        "n",
        "events",
        "median, months",
        *(f"{year} year{'s' * (year > 1)}" for year in years),
    )
    return PlainTable("rates", "Rates and medians", note, header, tuple(rows))


def follow_up(endpoints: Sequence[EndpointAnalysis]) -> PlainTable:
    """Median follow-up of each endpoint and group."""
    rows = []
    for one in endpoints:
        assert one.overall is not None
        for outcome in (one.overall, *one.groups):
            rows.append(
                (one.endpoint.name, outcome.name or ALL, str(outcome.patients), str(outcome.censored),
                 quantile_told(outcome.follow_up))
            )  # fmt: skip
    note = "By reverse Kaplan-Meier: every event, competing ones too, ends the observation (Schemper and Smith 1996)."
    header = ("endpoint", "patients", "n", "censored", "median follow-up, months")
    return PlainTable("follow_up", "Follow-up", note, header, tuple(rows))


def tests(endpoints: Sequence[EndpointAnalysis]) -> PlainTable:
    """Whether the groups differ."""
    rows = []
    for one in endpoints:
        for test in one.tests:
            statistic = CANNOT if test.statistic is None else f"{test.statistic:.3f}"
            asked = "the protocol" if test.asked else "added"
            rows.append(
                (one.endpoint.name, test.method, statistic, str(test.degrees_of_freedom), p_told(test.p_value), asked,
                 "; ".join(test.notes))
            )  # fmt: skip
    header = ("endpoint", "test", "chi-squared", "degrees of freedom", "p", "named by", "notes")
    return PlainTable(
        "tests", "Do the groups differ?", "Two-sided, not corrected for several tests.", header, tuple(rows)
    )


def hazards(endpoints: Sequence[EndpointAnalysis]) -> PlainTable:
    """Hazard ratios of the groups."""
    rows = []
    for one in endpoints:
        if one.hazards is None:
            continue
        within = f", stratified by {one.stratified_by}" if one.stratified_by else ""
        whole = "" if one.proportional is None else p_told(one.proportional.whole.p_value)
        for term in one.hazards.terms:
            ratio = CANNOT
            if term.hazard_ratio is not None and term.lower is not None and term.upper is not None:
                ratio = f"{term.hazard_ratio:.2f} ({term.lower:.2f} to {term.upper:.2f})"
            rows.append(
                (one.endpoint.name, f"{term.name} against {one.reference}{within}", ratio, p_told(term.p_value),
                 whole or "not tested", "; ".join(one.hazards.notes))
            )  # fmt: skip
    note = (
        "Cox's model of the group alone, ties by Efron, Wald intervals and p values; where events compete it is of the "
        "cause-specific hazard. A small p of proportional hazards (Grambsch and Therneau 1994) says that one ratio "
        "does not describe the whole follow-up."
    )
    header = ("endpoint", "groups", "hazard ratio (95 %)", "p", "p of proportional hazards", "notes")
    return PlainTable("hazard_ratios", "Hazard ratios", note, header, tuple(rows))


def _rate_row(one: EndpointAnalysis, outcome: GroupOutcome, years: Sequence[int]) -> tuple[str, ...]:
    at = dict(zip(one.endpoint.at_years, outcome.rates, strict=True))
    assert all(rate.time == MONTHS_A_YEAR * year for year, rate in at.items())
    kind = "" if outcome.incidence is None else " (cumulative incidence)"
    return (
        f"{one.endpoint.name}{kind}", outcome.name or ALL, str(outcome.patients), str(outcome.events),
        quantile_told(outcome.median), *(rate_told(at.get(year)) for year in years),
    )  # fmt: skip


def _words(fact: str) -> str:
    """Name of a fact with its unit as people write them."""
    name, _, unit = fact.rpartition("_")
    told = _UNITS.get(unit)
    words = " ".join(_WRITTEN.get(word, word) for word in (fact if told is None else name).split("_"))
    return words if told is None else f"{words}, {told}"


def _number_rows(one: Characteristic, groups: Sequence[str]) -> list[tuple[str, ...]]:
    cells = [_number_cell(of) for of in (one.overall, *(one.groups[group] for group in groups))]
    return [(_words(one.fact), *cells)]


def _number_cell(of: NumberSummary | CategorySummary) -> str:
    assert isinstance(of, NumberSummary)
    missing = f"; {of.missing} not known" if of.missing else ""
    if of.median is None:
        return f"known of nobody{missing}"
    return (
        f"{of.median:g} [{of.lower_quartile:g} to {of.upper_quartile:g}] ({of.smallest:g} to {of.largest:g}){missing}"
    )


def _category_rows(one: Characteristic, groups: Sequence[str]) -> list[tuple[str, ...]]:
    columns = [of for of in (one.overall, *(one.groups[group] for group in groups)) if isinstance(of, CategorySummary)]
    rows: list[tuple[str, ...]] = [(_words(one.fact), *("" for _ in columns))]
    for name in columns[0].counts:
        rows.append((f"    {name}", *(share(of.counts.get(name, 0), of.known) for of in columns)))
    if any(of.missing for of in columns):
        rows.append(("    not known", *(str(of.missing) for of in columns)))
    return rows
