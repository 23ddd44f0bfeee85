"""Measurements: each script says what it measures and how to run it."""
