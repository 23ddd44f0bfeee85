"""Rows: the formats, pure functions from a row to a row, and the files that hold rows."""
