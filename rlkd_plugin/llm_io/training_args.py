"""Reads the options of a training, which ms-swift stores in the run and in each checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import RlkdError

ARGS = "args.json"


def read_training_args(folder: Path) -> Mapping[str, Any]:
    """Return the options by name; empty if ms-swift did not write the folder.

    Raises:
        RlkdError: if they cannot be read.
    """
    file = folder / ARGS
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RlkdError(f"{file} cannot be read: {error}") from None
    return found if isinstance(found, dict) else {}
