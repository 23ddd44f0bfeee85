"""What a run has done: its curves, read from ms-swift's own log."""
