"""The paper in miniature: its arms and figures, from real runs of a small student."""
