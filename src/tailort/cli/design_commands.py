"""`tailort design`: how many patients a trial needs, and what its test then does. Heavy imports wait."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailort.cli.options import Json
from tailort.errors import InputError

if TYPE_CHECKING:
    from tailort.cli.design_words import Simulation, Told
    from tailort.cohort.designs import FollowUp, Sides

app = typer.Typer(
    help="Designs of trials: patients, limits, true level and power, by formula and by simulation.",
    no_args_is_help=True,
)

Null = Annotated[float, typer.Option("--null", help="Proportion under the null hypothesis.")]
Assumed = Annotated[float, typer.Option("--assumed", help="Proportion that is assumed.")]
Alpha = Annotated[float, typer.Option("--alpha", help="Level of the test.")]
Power = Annotated[float, typer.Option("--power", help="Chance to reject the null where what is assumed holds.")]
TestSides = Annotated[int, typer.Option("--sides", help="2: alpha/2 in each tail; 1: all towards what is assumed.")]
Ratio = Annotated[float, typer.Option("--ratio", help="Patients of the other arm for each of the control arm.")]
Losses = Annotated[
    str | None, typer.Option("--losses", metavar="SHARE", help="Of the enrolled who cannot be judged: 6% or 0.06.")
]
LostPerYear = Annotated[
    str, typer.Option("--lost-per-year", metavar="SHARE", help="Lost from follow-up in a year: 5% or 0.05.")
]
AccrualYears = Annotated[float, typer.Option("--accrual-years", help="Entry of patients, evenly over so many years.")]
Simulate = Annotated[int | None, typer.Option("--simulate", metavar="N", help="Simulate N trials too.")]
RandomSeed = Annotated[int | None, typer.Option("--seed", min=0, help="Of the simulated trials (default 0).")]


@app.command()
def binomial(
    null: Null,
    assumed: Assumed,
    alpha: Alpha,
    power: Annotated[float | None, typer.Option("--power", help="Find the fewest patients with this power.")] = None,
    patients: Annotated[int | None, typer.Option("--patients", help="Find the power of so many patients.")] = None,
    sides: TestSides = 2,
    losses: Losses = None,
    trials: Simulate = None,
    seed: RandomSeed = None,
    as_json: Json = False,
) -> None:
    """One arm, one proportion: the exact binomial test, and what approximations would ask for."""
    from tailort.cli.design_proportions import binomial as design

    lost = _losses(losses)
    _show(
        lambda simulation: design(
            null, assumed, alpha, power, patients=patients, sides=_sides(sides), lost=lost, simulation=simulation
        ),
        trials, seed, as_json,
    )  # fmt: skip


@app.command("two-proportions")
def two_proportions(
    control: Annotated[float, typer.Option("--control", help="Proportion of the control arm.")],
    assumed: Annotated[float, typer.Option("--assumed", help="Proportion assumed of the other arm.")],
    alpha: Alpha,
    power: Power,
    sides: TestSides = 2,
    ratio: Ratio = 1.0,
    losses: Losses = None,
    trials: Simulate = None,
    seed: RandomSeed = None,
    as_json: Json = False,
) -> None:
    """Two arms, one proportion each: the chi-square test."""
    from tailort.cli.design_proportions import two_proportions as design

    lost = _losses(losses)
    _show(
        lambda simulation: design(
            control, assumed, alpha, power, sides=_sides(sides), ratio=ratio, lost=lost, simulation=simulation
        ),
        trials, seed, as_json,
    )  # fmt: skip


@app.command()
def simon(
    null: Null,
    assumed: Assumed,
    alpha: Alpha,
    power: Power,
    most: Annotated[int, typer.Option("--most", help="Look at designs of up to so many patients, at most 200.")] = 100,
    losses: Losses = None,
    trials: Simulate = None,
    seed: RandomSeed = None,
    as_json: Json = False,
) -> None:
    """One arm in Simon's two stages: the optimal and the minimax design, one-sided."""
    from tailort.cli.design_proportions import simon as design

    lost = _losses(losses)
    _show(
        lambda simulation: design(null, assumed, alpha, power, most=most, lost=lost, simulation=simulation),
        trials, seed, as_json,
    )  # fmt: skip


@app.command("log-rank")
def log_rank(
    alpha: Alpha,
    power: Power,
    hazard_ratio: Annotated[
        float | None, typer.Option("--hazard-ratio", help="Assumed, of the other arm to the control arm.")
    ] = None,
    control: Annotated[float | None, typer.Option("--control", help="Survival of the control arm.")] = None,
    assumed: Annotated[float | None, typer.Option("--assumed", help="Survival of the other arm, at that time.")] = None,
    at_years: Annotated[float | None, typer.Option("--at-years", help="Time of the survival told.")] = None,
    accrual_years: AccrualYears = 0.0,
    follow_up_years: Annotated[
        float | None, typer.Option("--follow-up-years", help="From the last entry to the analysis.")
    ] = None,
    lost_per_year: LostPerYear = "0",
    sides: TestSides = 2,
    ratio: Ratio = 1.0,
    trials: Simulate = None,
    seed: RandomSeed = None,
    as_json: Json = False,
) -> None:
    """Two arms, survival: the log-rank test, Schoenfeld's events and the patients in whom they are seen."""
    from tailort.cli.design_survival import log_rank as design

    followed = _follow_up(accrual_years, follow_up_years, lost_per_year)
    _show(
        lambda simulation: design(
            alpha, power, hazard_ratio=hazard_ratio, control=control, assumed=assumed, at_years=at_years,
            follow_up=followed, sides=_sides(sides), ratio=ratio, simulation=simulation,
        ),
        trials, seed, as_json,
    )  # fmt: skip


@app.command("one-sample-log-rank")
def one_sample_log_rank(
    null: Annotated[float, typer.Option("--null", help="Survival under the null hypothesis.")],
    assumed: Annotated[float, typer.Option("--assumed", help="Survival that is assumed, at the same time.")],
    at_years: Annotated[float, typer.Option("--at-years", help="Time of both.")],
    alpha: Alpha,
    power: Power,
    variance: Annotated[
        str, typer.Option("--variance", help="Of the test: null (deaths expected) or mean (with those observed).")
    ] = "null",
    accrual_years: AccrualYears = 0.0,
    follow_up_years: Annotated[
        float | None,
        typer.Option("--follow-up-years", help="From the last entry to the analysis (default: that time)."),
    ] = None,
    lost_per_year: LostPerYear = "0",
    sides: TestSides = 2,
    trials: Simulate = None,
    seed: RandomSeed = None,
    as_json: Json = False,
) -> None:
    """One arm, survival against a known one: the one-sample log-rank test."""
    from tailort.cli.design_survival import one_sample_log_rank as design

    followed = _follow_up(accrual_years, at_years if follow_up_years is None else follow_up_years, lost_per_year)
    tested: Any = variance
    _show(
        lambda simulation: design(
            null, assumed, at_years, alpha, power, follow_up=followed, variance=tested, sides=_sides(sides),
            simulation=simulation,
        ),
        trials, seed, as_json,
    )  # fmt: skip


@app.command()
def protocol(
    protocol_id: Annotated[str, typer.Argument(metavar="ID", help="Protocol id or file.")],
    losses: Losses = None,
    trials: Simulate = None,
    seed: RandomSeed = None,
    as_json: Json = False,
) -> None:
    """Recompute the design of a protocol, arm by arm."""
    from tailort.cli.design_protocol import protocol_design

    lost = _losses(losses)
    _show(lambda simulation: protocol_design(protocol_id, lost=lost, simulation=simulation), trials, seed, as_json)


def share_of_text(text: str, option: str) -> float:
    """Share of "6%" or "0.06".

    Raises
    ------
    InputError
        When the text is neither, or the share not at least 0 and less than 1.
    """
    number, percent, rest = text.strip().partition("%")
    try:
        share = math.nan if rest else float(number) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise InputError(f"{option} '{text}' is no share of patients; expected such as 6% or 0.06, less than all")
    return share


def _losses(text: str | None) -> float | None:
    return None if text is None else share_of_text(text, "--losses")


def _follow_up(accrual_years: float, follow_up_years: float | None, lost_per_year: str) -> FollowUp | None:
    from tailort.cohort.designs import FollowUp

    lost = share_of_text(lost_per_year, "--lost-per-year")
    if follow_up_years is None:
        if accrual_years or lost:
            raise InputError("--accrual-years and --lost-per-year need --follow-up-years")
        return None
    return FollowUp(follow_up_years, accrual_years, lost)


def _sides(sides: int) -> Sides:
    if sides not in (1, 2):
        raise InputError(f"--sides {sides} is none; expected 1 or 2")
    return 1 if sides == 1 else 2


def _show(design: Callable[[Simulation], Told], trials: int | None, seed: int | None, as_json: bool) -> None:
    """Make a design, simulate it if asked, and print it."""
    from tailort.cli.app import _on_stdout, _print_json
    from tailort.cli.design_words import Simulation
    from tailort.cli.progress import Progress, interruptible

    if seed is not None and trials is None:
        raise InputError("--seed is of simulated trials: give --simulate N too")
    with interruptible(), Progress() as progress:
        told, rows = design(Simulation(trials, seed or 0, progress))
    with _on_stdout():
        if as_json:
            _print_json(told)
        else:
            width = max(len(what) for what, _ in rows)
            for what, text in rows:
                print(f"{what:<{width}}  {text}")
