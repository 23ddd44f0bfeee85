"""Engines whose model runs in the training process."""
