"""Data sets and the chat template, as ms-swift loads them."""
