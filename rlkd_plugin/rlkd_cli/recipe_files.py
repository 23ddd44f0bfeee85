"""The recipes of `swift_configs/`: their titles, the files that they need, and copies that run.

Files are read and copied as text; only ms-swift parses a YAML.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import takewhile
from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.server_commands import PLUGIN_FILE
from rlkd_plugin.rlkd_files import write_whole

DEMO_MODEL = "SmolLM2-135M-Instruct"
DEMO_STUDENT = "rlkd_plugin/swift_hooks/local/demo_student"
CONFIG_NAME = re.compile(r"swift_configs/([\w.]*\w)")


@dataclass(frozen=True)
class Copy:
    """A recipe in a folder.

    Attributes:
        files: names of its files, in order.
        commands: lines of the shell that start it from there.
    """

    files: list[str]
    commands: list[str]


def known_recipes() -> dict[str, Path]:
    """Return the YAML of each recipe by its name.

    A wheel carries `swift_configs/` beside this module; a clone has it at its top.
    """
    here = Path(__file__).resolve()
    carried, clone = (here.parents[level] / "swift_configs" for level in (0, 2))
    folder = carried if carried.is_dir() else clone
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str) -> Path:
    """Return a recipe's YAML.

    Raises:
        RlkdError: if there is none of this name; the message has similar names.
    """
    known = known_recipes()
    if name not in known:
        near = ", ".join(get_close_matches(name, known)) or "none"
        raise RlkdError(
            f"there is no recipe {name}; similar names: {near}; `rlkd recipes` lists all"
        )
    return known[name]


def title_of(recipe: Path) -> str:
    """Return the line that says what a recipe is, the first of its head."""
    return next(_head(recipe.read_text("utf-8")))


def files_of(recipe: Path) -> list[Path]:
    """Return the files that the commands in a recipe's head need, including the recipe.

    A Procfile comes with those for other numbers of devices, and a `.env` file with the YAML that
    it makes a Procfile train.
    """
    folder, device = recipe.parent, recipe.stem.rpartition("_")[2]
    found = [recipe]
    for file in found:  # the loop adds to it
        needed: list[Path] = []
        if file.suffix == ".yaml":
            for name in CONFIG_NAME.findall("\n".join(_head(file.read_text("utf-8")))):
                needed += sorted(folder.glob(re.sub(r"\d$", "[0-9]", name)))
        elif file.suffix == ".env":
            needed = [folder / f"{file.stem}_{device}.yaml"]
        found += [each for each in dict.fromkeys(needed) if each not in found]
    return sorted(found)


def copy_recipe(recipe: Path, folder: Path) -> Copy:
    """Copy a recipe and the files that it needs, with paths that are right in the new folder.

    Existing files with the same content stay.

    Raises:
        RlkdError: if one of the files exists with other content; then nothing is written.
    """
    if folder.exists() and not folder.is_dir():
        raise RlkdError(f"{folder} is not a folder; name another one")
    texts = {folder / file.name: text_of_copy(file) for file in files_of(recipe)}
    for file, text in texts.items():
        if file.exists() and file.read_bytes() != text.encode():
            raise RlkdError(f"{file} exists with other content; remove it, or name another DIR")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        if not file.exists():
            write_whole(file, text)
    return Copy([file.name for file in texts], _start(texts[folder / recipe.name]))


def text_of_copy(file: Path) -> str:
    """Return a file's text for a copy, which is next to neither the clone nor the model.

    The plugin file becomes an absolute path, which ms-swift also stores in checkpoints, and so does
    the adapter of the demo's student; the demo's model, which `make demo` puts into the clone,
    becomes the hub's.
    """
    text = file.read_text("utf-8").replace("swift_configs/", "")
    quote = partial(json.dumps, ensure_ascii=False) if file.suffix == ".yaml" else shlex.quote
    package = Path(PLUGIN_FILE).parent
    for path in (DEMO_STUDENT, "rlkd_plugin/register.py"):
        text = text.replace(path, quote(str(package / Path(path).relative_to("rlkd_plugin"))))
    return text.replace(f"models/{DEMO_MODEL}", f"HuggingFaceTB/{DEMO_MODEL}")


def _head(text: str) -> Iterator[str]:
    """Yield the lines of the comment with which a file begins, without their marks."""
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    return (line[1:].removeprefix(" ") for line in lines)


def _start(text: str) -> list[str]:
    """Return the first commands of a head; they are indented."""
    lines = list(_head(text))
    first = next(number for number, line in enumerate(lines) if line.startswith("  "))
    return [line[2:] for line in takewhile(lambda line: line.startswith("  "), lines[first:])]
