"""Small files that are whole or not there, and the plan by which a job goes on in its folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import RlkdError

PLAN = "plan.json"


def replace(file: Path, content: str | bytes) -> None:
    """Write a file whole or not at all."""
    half = file.with_name(f"{file.name}.half")
    half.write_bytes(content.encode() if isinstance(content, str) else content)
    half.replace(file)


def keep_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Make a job's folder with what it is about, or see that the folder is of the same job.

    Raises:
        RlkdError: if another job has begun there; the message says what differs.
    """
    plan = json.loads(json.dumps(plan))
    file = folder / PLAN
    if file.is_file():
        before = json.loads(file.read_text("utf-8"))
        differs = [
            f"{name}: {before.get(name)!r} there, {plan.get(name)!r} now"
            for name in {**before, **plan}
            if before.get(name) != plan.get(name)
        ]
        if differs:
            raise RlkdError(f"{folder} is another job's ({'; '.join(differs)}): name a new folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    replace(file, json.dumps(plan, indent=1, ensure_ascii=False))


def read_json(folder: Path, name: str, what: str) -> dict[str, Any]:
    """Read a job's result.

    Raises:
        RlkdError: if there is none, or it cannot be read.
    """
    try:
        return json.loads((folder / name).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RlkdError(f"{folder} holds no {what} ({name}): {error}") from None
