"""Small models, hand-made rows and recipe overlays, with which a recipe runs on a CPU."""
