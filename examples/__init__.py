"""Whole pipelines, to run and to read."""
