"""Cohorts of patients: survival, competing risks, group comparisons, and the size and rules of trials."""
