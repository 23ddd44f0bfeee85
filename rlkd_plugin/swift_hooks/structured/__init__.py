"""Structured fine-grained training of the GSRM (section 3.1): callback, loss, tokens, checks."""
