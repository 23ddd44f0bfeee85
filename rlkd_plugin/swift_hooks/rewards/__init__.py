"""The reward in its four forms for ms-swift, what they share, and its metrics."""
