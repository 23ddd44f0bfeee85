"""Everything that touches ms-swift or torch: the reward, its metrics, datasets and registration."""
