"""Engines whose model is in the training process: the GSRM as a reward model, the small GSRM."""
