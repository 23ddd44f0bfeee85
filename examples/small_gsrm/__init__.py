"""The small GSRM: from the Socratic rows of GSM8K to a trained engine and its figures."""
