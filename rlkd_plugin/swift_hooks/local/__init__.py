"""Engines whose model is in the training process, and how it computes on a CPU."""
