"""The record of a result: a small JSON file that names the settings which made it.

`OUT.rlkd.json` is next to a file OUT. Not here: when it is written, and who may write
(`ownership`); the plan of a job that writes a folder (`rlkd_eval.plans`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from rlkd_plugin import __version__
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.rows.source_folders import RECORD
from rlkd_plugin.rlkd_files import add_ending

FORMAT = 1
"""The version of the record and of the files that it describes."""
OVERRULED = {"served_from": "weights", "base_served_from": "base_weights"}
"""Facts that are ignored where a better one is known on both sides: a model may be moved."""
MAY_BE_UNKNOWN = {*OVERRULED, *OVERRULED.values(), "served_revision", "adapter_weights"}
"""Facts that only some machines know; None is equal to any value."""
UNKNOWN = "unknown"
"""The label of the maker of a result from before records were kept."""
STAMP_BYTES = 1 << 20
"""Bytes at each end of a file that go into its stamp."""
SHOWN = 120
"""Maximum characters of a fact's value in a message."""

Facts = Mapping[str, Any]
"""The JSON values, by name, on which a result depends."""


@dataclass(frozen=True)
class Maker:
    """The facts on which the content of a job's lines depends.

    Attributes:
        name: the model or the format, for readers.
        facts: JSON values by name.
    """

    name: str
    facts: Facts

    @property
    def label(self) -> str:
        """A short text that identifies this maker."""
        text = json.dumps(self.facts, sort_keys=True, ensure_ascii=True)
        digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        return f"{self.name} {digest}".strip()


@dataclass(frozen=True, kw_only=True)
class Record:
    """How a result was made.

    Attributes:
        format: `FORMAT` of the version that started it.
        command: the command that writes it: "rlkd structure".
        version: the plugin's version that started it.
        columns: columns of the lines of each file, by the ending of its name.
        source: the only source that the result may be made from; "" where others may be added.
        shard: the part of the source that it was started with: "2/4"; "" for all of it.
        makers: the facts of each maker, by its label.
        is_mixed: whether each line names its maker.
        is_done: whether the last run of the job finished.
        stamp: stamp of OUT, where a job replaces the whole file; two during the replacement.
    """

    format: int = FORMAT
    command: str
    version: str = __version__
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    source: str = ""
    shard: str = ""
    makers: Mapping[str, Facts]
    is_mixed: bool = False
    is_done: bool = False
    stamp: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the record as the text of its file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    def label_of(self, facts: Facts) -> str | None:
        """Return the label of the maker that has these facts, or None."""
        for label, known in self.makers.items():
            if label != UNKNOWN and not differences(known, facts):
                return label
        return None

    def learn(self, facts: Facts) -> "Record":
        """Return the record with the facts that a known maker lacked before."""
        label = self.label_of(facts)
        if label is None:
            return self
        known = {name: value for name, value in self.makers[label].items() if value is not None}
        return replace(self, makers={**self.makers, label: {**facts, **known}})

    def last(self) -> Facts:
        """Return the facts of the maker that came last."""
        return [*self.makers.values()][-1]


def content_stamp(file: Path) -> str:
    """Return a file's stamp: its size, and a hash of its first and last bytes."""
    size = file.stat().st_size
    digest = hashlib.blake2b(digest_size=8)
    with file.open("rb") as content:
        digest.update(content.read(STAMP_BYTES))
        content.seek(max(0, size - STAMP_BYTES))
        digest.update(content.read())
    return f"{size} {digest.hexdigest()}"


def record_file(out: Path) -> Path:
    """Return the path of a file's record."""
    return add_ending(out, RECORD)


def read_record(file: Path) -> Record | None:
    """Read a record; None if there is none, or only an empty file that a kill left.

    Raises:
        RlkdError: if the file is not a record, or is of a newer version.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RlkdError(f"{file} cannot be read: {error.strerror or error}") from None
    if not content.strip():
        return None
    try:
        found = msgspec.json.decode(content, type=Record)
        if not found.makers:
            raise msgspec.ValidationError("it names no maker")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RlkdError(
            f"{file} is not a record of a job of this plugin ({error}); name another output"
        ) from None
    if found.format > FORMAT:
        raise RlkdError(
            f"{file} was written by version {found.version} of the plugin, which is newer than "
            f"this one ({__version__}); update the plugin, or name another output"
        )
    return found


def differences(before: Facts, facts: Facts) -> list[str]:
    """Return a text for each fact that differs between a record and now."""
    now = msgspec.json.decode(msgspec.json.encode(facts))
    found = []
    for name in before | now:
        there, here = before.get(name), now.get(name)
        better = OVERRULED.get(name)
        if better and None not in (before.get(better), now.get(better)):
            continue
        if name in MAY_BE_UNKNOWN and None in (there, here):
            continue
        if there != here:
            found.append(f"{name}: {there!r:.{SHOWN}} there, {here!r:.{SHOWN}} now")
    return found
