"""Chooses the files of a source: the file itself, or those of a folder that hold rows."""

from collections.abc import Iterator
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.rows.file_kinds import kind_of, other_json
from rlkd_plugin.rlkd_data.rows.packed_files import plain_name

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Suffixes of row files in a folder, in any letter case, also before `.gz` or `.zst`."""
RECORD = ".rlkd.json"
"""Suffix of a result's record; it holds no rows, and is skipped without a warning."""
SECOND_FILES = ("dropped", "discarded", "similarities")
"""Names of the files that a job writes next to its result X, such as `X.dropped.jsonl`."""
SPLIT = "train"


def row_files(source: Path) -> list[Path]:
    """Return the file, or the row files of a folder in the order of names.

    Where some of a folder's names begin with `train`, as the hubs name the files of a split, the
    others are of other splits and are skipped; `unread_files` names all skipped files.

    Raises:
        RlkdError: if there is none, or one is of an unknown format.
    """
    if source.is_file():
        files = [source]
    elif source.is_dir():
        files = [file for file, why in _entries(source) if not why]
        if not files:
            names = ", ".join(unread_files(source)[:10])
            raise RlkdError(
                f"{source} has no row file ({', '.join(SUFFIXES)}, also as .gz or .zst); name the "
                f"folder that has them{names and f'; this one has {names}'}"
            )
    else:
        raise RlkdError(f"there is no file {source}")
    for file in files:
        kind_of(file)
    return files


def unread_files(source: Path) -> list[str]:
    """Return each entry of a folder that is not read, as `name (why)`; hidden ones are not named.

    A file as a source has none.
    """
    if not source.is_dir():
        return []
    return [f"{file.name} ({why})" for file, why in _entries(source) if why]


def is_row_name(name: str) -> bool:
    """Return whether a file of this name in a folder counts as a row file."""
    return name[:1] != "." and not name.endswith(RECORD) and plain_name(name).endswith(SUFFIXES)


def _entries(folder: Path) -> list[tuple[Path, str]]:
    """Return the files of a folder, each with the reason why it is not read, or an empty text."""
    found = list(_visible_entries(folder))
    if any(not why and _is_of_split(file) for file, why in found):
        other = f"of another split, as names begin with {SPLIT}"
        found = [(file, why or ("" if _is_of_split(file) else other)) for file, why in found]
    return found


def _visible_entries(folder: Path) -> Iterator[tuple[Path, str]]:
    for file in sorted(folder.iterdir()):
        if file.name[0] != "." and not file.name.endswith(RECORD):
            yield file, _why_skipped(file)


def _why_skipped(file: Path) -> str:
    if file.is_dir():
        return "a folder"
    if not file.is_file():
        return "a broken link" if file.is_symlink() else "not a file"
    if not is_row_name(file.name):
        return "not a row file, by its suffix"
    if _is_second(file):
        return "a job's second file"
    if plain_name(file.name).endswith(".json"):
        return other_json(file) or ""
    return ""


def _is_second(file: Path) -> bool:
    for name in SECOND_FILES:
        first = file.name.removesuffix(f".{name}.jsonl")
        if first != file.name and (first.endswith(".jsonl") or file.with_name(first).exists()):
            return True
    return False


def _is_of_split(file: Path) -> bool:
    return file.name.lower().startswith(SPLIT)
