"""The plan in a job's folder: the record by which it resumes, and which keeps other jobs out.

`plan.json` holds the facts on which the results depend, and the job's command. The record beside a
single file is `rlkd_data.jobs.record`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rlkd_plugin import __version__
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.record import FORMAT, differences
from rlkd_plugin.rlkd_eval.kept_files import PLAN, read_json
from rlkd_plugin.rlkd_files import append_lines, claim

OLD_PLANS = {"rlkd eval": {"subject", "problems"}, "rlkd diversity": {"engine", "samples"}}
"""Keys that identify plans of versions that wrote no command."""


@dataclass(frozen=True)
class Plan:
    """The command that writes into a folder, and what its results depend on."""

    command: str
    facts: Mapping[str, Any]

    def encode(self) -> bytes:
        """Return the plan as the text of its file."""
        record = {"format": FORMAT, "command": self.command, "version": __version__}
        return msgspec.json.format(msgspec.json.encode({**record, **self.facts}), indent=1) + b"\n"


def read_plan(folder: Path) -> Plan | None:
    """Read the plan in a folder; None where there is none, or an empty file that a kill left.

    Raises:
        RlkdError: if it is another tool's, or of a newer version.
    """
    file = folder / PLAN
    if not file.exists() or (file.is_file() and not file.stat().st_size):
        return None
    try:
        facts = read_json(file, dict[str, Any])
    except OSError as error:
        raise RlkdError(f"{file} cannot be read: {error.strerror or error}") from None
    except RlkdError as error:
        raise RlkdError(f"{folder}: {error}; name a new folder") from None
    for command, names in OLD_PLANS.items():
        if "command" not in facts and names <= facts.keys():
            facts.pop("engine", None)  # the structures have their own record now
            return Plan(command, facts)
    version, command = facts.pop("version", None), facts.pop("command", None)
    written_as = facts.pop("format", None)
    if not (isinstance(written_as, int) and isinstance(command, str)):
        raise RlkdError(f"{file} is not a plan of a job of this plugin; name a new folder")
    if written_as > FORMAT:
        raise RlkdError(
            f"{file} was written by version {version} of the plugin, which is newer than this one "
            f"({__version__}); update the plugin, or name a new folder"
        )
    return Plan(command, facts)


def keep_plan(folder: Path, plan: Plan, names: Sequence[str]) -> None:
    """Create a job's folder with its plan, or check that the folder is of the same job.

    Args:
        folder: of the job.
        plan: of the job.
        names: of the files and folders that the job writes there.

    Raises:
        RlkdError: if the folder is another job's (the message says what differs), or has a file
            that this job would write.
    """
    before = read_plan(folder)
    if before is None:
        if existing := [name for name in names if (folder / name).exists()]:
            raise RlkdError(
                f"{folder / existing[0]} exists already, without a {PLAN} of `{plan.command}`: "
                "name a new folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        append_lines(folder / PLAN, plan.encode())
        return
    if before.command != plan.command:
        fault = f"was made by `{before.command}`, not by `{plan.command}`"
    elif differs := differences(before.facts, plan.facts):
        fault = f"is another job's ({'; '.join(differs)})"
    else:
        return
    raise RlkdError(f"{folder} {fault}: name a new folder")


@contextmanager
def claim_folder(folder: Path) -> Iterator[None]:
    """Keep other processes out of a job's folder while the body runs; create it if absent.

    Raises:
        RlkdError: if another one is in it, or it is not a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise RlkdError(f"{folder} is not a folder; name a new one")
    if (folder / PLAN).exists() and not (folder / PLAN).is_file():
        raise RlkdError(f"{folder / PLAN} is not a file; name a new folder")
    is_new, had_plan = not folder.exists(), (folder / PLAN).exists()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / PLAN
    with claim(file, folder):
        try:
            yield
        finally:
            if not had_plan and file.is_file() and not file.stat().st_size:
                file.unlink()  # the job did not start
                if is_new:
                    with suppress(OSError):
                        folder.rmdir()
