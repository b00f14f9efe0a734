"""Designs of trials: numbers of patients and events, limits, true level and power, by formula and by simulation."""

from tailort.cohort.designs.asked import Sides, enrolled
from tailort.cohort.designs.follow_up import FollowUp, hazard_of
from tailort.cohort.designs.log_rank import TwoArms, freedman_events, schoenfeld_events, two_arms
from tailort.cohort.designs.one_proportion import (
    ExactDesign,
    approximations,
    enough_from,
    exact_design,
    smallest_design,
)
from tailort.cohort.designs.one_sample_log_rank import Variance, log_rank_size
from tailort.cohort.designs.simulation import (
    SimulatedChance,
    VirtualTrial,
    log_rank_trial,
    one_proportion_trial,
    one_sample_log_rank_trial,
    simulate,
    two_proportions_trial,
    two_stage_trial,
)
from tailort.cohort.designs.two_proportions import Pooling, arms_of, two_proportions_size
from tailort.cohort.designs.two_stage import SimonDesigns, TwoStage, simon_designs

__all__ = [
    "ExactDesign",
    "FollowUp",
    "Pooling",
    "Sides",
    "SimonDesigns",
    "SimulatedChance",
    "TwoArms",
    "TwoStage",
    "Variance",
    "VirtualTrial",
    "approximations",
    "arms_of",
    "enough_from",
    "enrolled",
    "exact_design",
    "freedman_events",
    "hazard_of",
    "log_rank_size",
    "log_rank_trial",
    "one_proportion_trial",
    "one_sample_log_rank_trial",
    "schoenfeld_events",
    "simon_designs",
    "simulate",
    "smallest_design",
    "two_arms",
    "two_proportions_size",
    "two_proportions_trial",
    "two_stage_trial",
]
