"""The modules that import ms-swift or torch: rewards, structured training, data, local engines."""
