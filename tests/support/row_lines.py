"""Writes and reads the rows of a job, as JSON lines."""

import json
from pathlib import Path
from typing import Any


def write(file: Path, *rows: object) -> Path:
    """Write rows as JSON lines; a text stands as it is."""
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def lines(file: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    return [json.loads(line) for line in file.open()]
