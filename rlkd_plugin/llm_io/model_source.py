"""Identifies a GSRM beyond its name, for the keys of cached structures.

A served name is not enough, as each recipe serves its GSRM as `gsrm`. So the servers' information,
`RLKD_GSRM_REVISION`, and the fingerprint of the weights in a folder on this machine count too. Not
here: the requests to the servers (`model_cards`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.model_cards import Card
from rlkd_plugin.llm_io.proxies import is_this_machine
from rlkd_plugin.llm_io.weight_fingerprint import folder_of, weight_fingerprint


@dataclass(frozen=True, slots=True)
class ModelSource:
    """The origin of a model, as far as it is known.

    Attributes:
        name: its name on the servers.
        revision: the value of `RLKD_GSRM_REVISION`.
        root: its path or repository, as its servers report.
        parent: the path or repository of a LoRA's base model.
        served_revision: the version of the weights, as its servers report.
        fingerprint: of the weights, if their folder is on this machine.
        parent_fingerprint: the fingerprint of a LoRA's base model.
        faults: by URL, why a server reports nothing.
    """

    name: str
    revision: str = ""
    root: str = ""
    parent: str = ""
    served_revision: str = ""
    fingerprint: str = ""
    parent_fingerprint: str = ""
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Distinguishes this model from others with its name, independently of its folder."""
        return json.dumps([self.revision, *self._facts])

    @property
    def _facts(self) -> tuple[str, str, str]:
        """All facts except name and revision; a fingerprint replaces a path."""
        root, parent = self.fingerprint or self.root, self.parent_fingerprint or self.parent
        return root, parent, self.served_revision

    @property
    def is_name_alone(self) -> bool:
        """Whether another model with this name could not be distinguished."""
        return not (self.revision or any(self._facts))

    @property
    def known_facts(self) -> str:
        """The known facts as text."""
        known = []
        if self.revision:
            known.append(f"RLKD_GSRM_REVISION={self.revision}")
        for path, digest in ((self.root, self.fingerprint), (self.parent, self.parent_fingerprint)):
            if path or digest:
                weights = f" (weights {digest})" if digest else ""
                known.append(f"{path or self.name}{weights}")
        if self.served_revision:
            known.append(f"version {self.served_revision}")
        return ", ".join(known) or "its name alone"

    def describe(self) -> str:
        """Return a sentence on what identifies it, and what to set if that is not enough."""
        said = f"the GSRM {self.name!r} is identified by {self.known_facts}"
        why = "; ".join(f"{url}: {fault}" for url, fault in self.faults.items())
        if self.is_name_alone:
            return (
                f"{said}{f' ({why})' if why else ''}: another model under this name would read its "
                "structures from the cache; set RLKD_GSRM_REVISION to its version"
            )
        if not (self.fingerprint or self.revision or self.served_revision):
            return (
                f"{said}: a model that is retrained in this place is not noticed; set "
                "RLKD_GSRM_REVISION, or serve it from a folder of this machine"
            )
        return said


def local_source(name: str, revision: str) -> ModelSource:
    """Return the source of a model loaded in this process, by its folder or hub id."""
    return _source_of(name, revision, "", Card())


def served_source(name: str, revision: str, cards: Mapping[str, Card]) -> ModelSource:
    """Return the source of a model from the information of its servers.

    A server without information is ignored. Servers with different information serve different
    models, unless `revision` is set.

    Args:
        name: its name on the servers.
        revision: the value of `RLKD_GSRM_REVISION`.
        cards: the information of each server, by URL.

    Raises:
        RlkdError: if the servers serve different models.
    """
    faults = {url: card.fault for url, card in cards.items() if card.fault}
    found = {url: _source_of(name, revision, url, card) for url, card in cards.items()}
    known = {url: source for url, source in found.items() if any(source._facts)}
    if len({source._facts for source in known.values()}) > 1:
        if revision:
            return ModelSource(name, revision, faults=faults)
        each = "; ".join(f"{url}: {source.known_facts}" for url, source in known.items())
        raise RlkdError(
            f"the servers of RLKD_GSRM_BASE_URL serve different models as {name!r}: {each}. Serve "
            "one model; if it is the same model in several places, set RLKD_GSRM_REVISION"
        )
    source = next(iter(known.values()), ModelSource(name, revision))
    return replace(source, faults=faults)


def _source_of(name: str, revision: str, url: str, card: Card) -> ModelSource:
    """Return the source of one server's model, or of this process's model without a URL."""
    is_local = not url or is_this_machine(url)

    def fingerprint(model: str) -> str:
        folder = folder_of(model, is_local=is_local)
        return (weight_fingerprint(folder) if folder else None) or ""

    own = card.root or (name if "/" in name else "")  # a name may itself be a path
    return ModelSource(
        name,
        revision,
        root=card.root,
        parent=card.parent,
        served_revision=card.revision,
        fingerprint=fingerprint(own),
        parent_fingerprint=fingerprint(card.parent),
    )
