"""The rewards that ms-swift calls, their shared scorer, and their metrics."""
