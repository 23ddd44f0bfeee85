"""All that imports ms-swift or torch: rewards, structured training, data sets, local engines."""
