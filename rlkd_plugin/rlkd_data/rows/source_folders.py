"""Which files of a source are read: the file itself, or those of a folder that hold rows."""

from collections.abc import Iterator
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.rows.file_kinds import kind_of, other_json
from rlkd_plugin.rlkd_data.rows.packed_files import plain_name

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Ends of the names of row files in a folder, in any letter case, also before `.gz` or `.zst`."""
RECORD = ".rlkd.json"
"""Ends the name of the file that says what made a result; it holds no rows, and is not named."""
SECOND_FILES = ("dropped", "discarded", "similarities")
"""What a job writes beside its result X: `X.dropped.jsonl` and so on."""
SPLIT = "train"


def row_files(source: Path) -> list[Path]:
    """Return the file, or the row files of a folder in the order of names.

    Where some of a folder's names begin with `train`, as the hubs name the files of a split, the
    others are of other splits and are skipped; `unread_files` names all that is skipped.

    Raises:
        RlkdError: if there is none, or one is of a format that is not read.
    """
    if source.is_file():
        files = [source]
    elif source.is_dir():
        files = [file for file, why in _entries(source) if not why]
        if not files:
            names = ", ".join(unread_files(source)[:10])
            raise RlkdError(
                f"{source} has no .jsonl or .parquet file, nor a {', '.join(SUFFIXES[1:-1])}, also "
                f"as .gz or .zst; name the folder they are in{names and f'; it has {names}'}"
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
    """Say whether a file of this name in a folder is taken for a row file."""
    return name[:1] != "." and not name.endswith(RECORD) and plain_name(name).endswith(SUFFIXES)


def _entries(folder: Path) -> list[tuple[Path, str]]:
    """Return what a folder holds, each with the reason why it is not read, or an empty one."""
    found = list(_seen_entries(folder))
    if any(not why and _is_of_split(file) for file, why in found):
        other = f"of another split, as names begin with {SPLIT}"
        found = [(file, why or ("" if _is_of_split(file) else other)) for file, why in found]
    return found


def _seen_entries(folder: Path) -> Iterator[tuple[Path, str]]:
    for file in sorted(folder.iterdir()):
        if file.name[0] != "." and not file.name.endswith(RECORD):
            yield file, _why_unread(file)


def _why_unread(file: Path) -> str:
    if file.is_dir():
        return "a folder"
    if not file.is_file():
        return "a link to nothing" if file.is_symlink() else "no file"
    if not is_row_name(file.name):
        return "no row file by its suffix"
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
