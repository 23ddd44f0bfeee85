"""Teacher structures on disk: decomposed once, ever, for all ranks and runs.

One JSON file an entry, whole or absent on local disks and network file systems alike
(`rlkd_files.write_whole`), in a folder of its GSRM's. An entry that cannot be read counts as
absent.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Protocol

from rlkd_plugin.gsrm import FormatError, Structure, parse_structure, render_structure
from rlkd_plugin.rlkd_files import write_whole

VERSION = 2
"""The version of key and place of an entry; entries of another version are never found."""

logger = logging.getLogger(__name__)


class Identified(Protocol):
    """An engine, as far as its cache needs it."""

    @property
    def identity(self) -> str:
        """What its structures depend on beside problem, domain and path."""
        ...


class DiskCache:
    """The cache of one GSRM with one prompt.

    Args:
        folder: shared by all ranks and runs; the first entry creates it.
        identity: what the structures depend on beside problem, domain and path: the model, the
            prompt's text and the options; another identity has other entries. Or the engine that
            has it, which is asked when it is needed: its servers may be loading before.

    Attributes:
        hits: structures that this object found.
        misses: paths that it had no structure of.
    """

    def __init__(self, folder: Path, identity: str | Identified) -> None:
        self.folder = folder
        self._identity = identity
        self.hits = 0
        self.misses = 0

    @property
    def identity(self) -> str:
        """What the structures depend on; it stays what it was at its first use."""
        if not isinstance(self._identity, str):
            self._identity = self._identity.identity
        return self._identity

    @property
    def entries(self) -> Path:
        """The folder of this identity's entries."""
        return self.folder / _digest([VERSION, self.identity])[:16]

    def count(self) -> int:
        """Return how many structures of this identity there are."""
        return sum(1 for _ in self.entries.glob("*/*.json"))

    def get(self, problem: str, domain: str, path: str) -> Structure | None:
        """Return the structure of a teacher path, None where there is none yet."""
        structure = self._read(self._file(problem, domain, path))
        if structure is None:
            self.misses += 1
        else:
            self.hits += 1
        return structure

    def put(self, problem: str, domain: str, path: str, structure: Structure) -> None:
        """Keep a structure; if that fails, the run goes on, and the next one decomposes again."""
        file = self._file(problem, domain, path)
        entry = {
            "version": VERSION,
            "identity": self.identity,
            "problem": problem,
            "domain": domain,
            "structure": render_structure(structure),
        }
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, json.dumps(entry, indent=1))
        except OSError as error:
            logger.warning("rlkd: RLKD_CACHE_DIR=%s cannot be written: %s", self.folder, error)

    @staticmethod
    def _read(file: Path) -> Structure | None:
        try:
            return parse_structure(json.loads(file.read_bytes())["structure"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, FormatError) as error:
            logger.warning("rlkd: a cache entry is unreadable and will be written anew: %s", error)
            return None

    def _file(self, problem: str, domain: str, path: str) -> Path:
        name = _digest([VERSION, self.identity, problem, domain, path])
        return self.entries / name[:2] / f"{name}.json"


def _digest(key: list[object]) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()
