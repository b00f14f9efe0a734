"""A patient's way from start to end, as a few functions; each is imported from its own module."""
