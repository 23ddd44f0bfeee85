"""Teacher structures on disk: decomposed once, ever, for all ranks and runs.

One JSON file an entry, written beside its place and renamed, so that it is whole or absent on
local disks and network file systems alike. An entry that cannot be read is one that is not there.
"""

import hashlib
import json
import logging
import os
import uuid
from contextlib import suppress
from pathlib import Path

from rlkd_plugin.gsrm import FormatError, Structure, parse_structure, render_structure

VERSION = 1

logger = logging.getLogger(__name__)


class DiskCache:
    """The cache of one GSRM with one prompt.

    Args:
        folder: shared by all ranks and runs; made when the first entry is written.
        identity: what the structures depend on beside problem, domain and path: the model's
            name, the prompt's text and the options; another identity has other entries.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity

    def get(self, problem: str, domain: str, path: str) -> Structure | None:
        """Return the structure of a teacher path, None where there is none yet."""
        try:
            entry = json.loads(self._file(problem, domain, path).read_bytes())
            return parse_structure(entry["structure"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, FormatError) as error:
            logger.warning("rlkd: a cache entry is unreadable and will be made anew: %s", error)
            return None

    def put(self, problem: str, domain: str, path: str, structure: Structure) -> None:
        """Keep a structure; where that fails, the run goes on and decomposes again next time."""
        file = self._file(problem, domain, path)
        entry = {
            "version": VERSION,
            "identity": self.identity,
            "problem": problem,
            "domain": domain,
            "structure": render_structure(structure),
        }
        temporary = file.with_name(f".{file.stem}.{os.getpid()}.{uuid.uuid4().hex}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(json.dumps(entry, indent=1).encode())
            os.replace(temporary, file)
        except OSError as error:
            logger.warning("rlkd: RLKD_CACHE_DIR=%s cannot be written: %s", self.folder, error)
            with suppress(OSError):
                temporary.unlink()

    def _file(self, problem: str, domain: str, path: str) -> Path:
        key = json.dumps([VERSION, self.identity, problem, domain, path])
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.json"
