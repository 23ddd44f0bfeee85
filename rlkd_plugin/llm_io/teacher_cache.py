"""Teacher structures on disk, decomposed once for all ranks and runs.

An entry is one JSON file in a folder for its GSRM. It is whole or absent, on network file systems
too (`rlkd_files.write_whole`). An entry that cannot be read counts as absent.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Protocol

from rlkd_plugin.gsrm import FormatError, Structure, parse_structure, render_structure
from rlkd_plugin.rlkd_files import write_whole

VERSION = 2
"""Version of the key and path of an entry; entries of another version are never found."""

logger = logging.getLogger(__name__)


class Identified(Protocol):
    """The part of an engine that its cache needs."""

    @property
    def identity(self) -> str:
        """The key of its structures, except problem, domain and path."""
        ...


class DiskCache:
    """The cache of one GSRM with one prompt.

    Args:
        folder: shared by all ranks and runs; the first entry creates it.
        identity: the key of the structures, except problem, domain and path: model, prompt and
            options; another identity has other entries. Or an engine, whose identity is read at
            the first use, as its servers may still be loading.

    Attributes:
        hits: lookups with a structure.
        misses: lookups without one.
    """

    def __init__(self, folder: Path, identity: str | Identified) -> None:
        self.folder = folder
        self._identity = identity
        self.hits = 0
        self.misses = 0

    @property
    def identity(self) -> str:
        """The key of the structures; it never changes after its first use."""
        if not isinstance(self._identity, str):
            self._identity = self._identity.identity
        return self._identity

    @property
    def entries(self) -> Path:
        """The folder of this identity's entries."""
        return self.folder / _digest([VERSION, self.identity])[:16]

    def count(self) -> int:
        """Return the number of structures of this identity."""
        return sum(1 for _ in self.entries.glob("*/*.json"))

    def get(self, problem: str, domain: str, path: str) -> Structure | None:
        """Return the structure of a teacher path, or None."""
        structure = self._read(self._file(problem, domain, path))
        if structure is None:
            self.misses += 1
        else:
            self.hits += 1
        return structure

    def put(self, problem: str, domain: str, path: str, structure: Structure) -> None:
        """Store a structure; a failure is only logged, and the next run decomposes again."""
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
            logger.warning(
                "rlkd: the cache entry %s cannot be read, and is replaced: %s", file, error
            )
            return None

    def _file(self, problem: str, domain: str, path: str) -> Path:
        name = _digest([VERSION, self.identity, problem, domain, path])
        return self.entries / name[:2] / f"{name}.json"


def _digest(key: list[object]) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()
