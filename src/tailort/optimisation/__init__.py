"""optimisation."""
