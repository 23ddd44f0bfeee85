"""The rewards that ms-swift calls, the scorer that they share, and their metrics."""
