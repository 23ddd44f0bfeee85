"""The data sets and the chat template that ms-swift loads by our names."""
