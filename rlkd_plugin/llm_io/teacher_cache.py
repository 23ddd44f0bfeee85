"""Teacher structures on disk: decomposed once, ever, for all ranks and runs.

One JSON file an entry, whole or absent on local disks and network file systems alike
(`rlkd_files.write_whole`). An entry that cannot be read counts as absent.
"""

import hashlib
import json
import logging
from pathlib import Path

from rlkd_plugin.gsrm import FormatError, Structure, parse_structure, render_structure
from rlkd_plugin.rlkd_files import write_whole

VERSION = 1

logger = logging.getLogger(__name__)


class DiskCache:
    """The cache of one GSRM with one prompt.

    Args:
        folder: shared by all ranks and runs; the first entry creates it.
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
            logger.warning("rlkd: a cache entry is unreadable and will be written anew: %s", error)
            return None

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

    def _file(self, problem: str, domain: str, path: str) -> Path:
        key = json.dumps([VERSION, self.identity, problem, domain, path])
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.json"
