"""Shared by tests and benchmarks: small models, hand-made rows and texts, recipe overlays, runs.

Together they let a recipe, a server or a job run for real on a CPU, in seconds.
"""
