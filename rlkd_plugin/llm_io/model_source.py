"""What a GSRM is, beside its name: on this a cached structure of its depends.

A served name says little: each recipe serves its GSRM as `gsrm`. So what the servers tell counts
too, the fingerprint of the weights where their folder is on this machine, and what
`RLKD_GSRM_REVISION` says. Not here: how the servers are asked (`model_cards`).
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
    """Where a model comes from, as far as it is known.

    Attributes:
        name: the name under which it is asked.
        revision: what `RLKD_GSRM_REVISION` says of it.
        root: its path or repository, as its servers tell.
        parent: the same of a LoRA's base model.
        served_revision: the version of the weights that its servers tell.
        fingerprint: of the weights, where their folder is on this machine.
        parent_fingerprint: the same of a LoRA's base model.
        faults: by URL, why a server tells nothing.
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
        """What tells this model from others under its name, wherever its folder is."""
        return json.dumps([self.revision, *self._facts])

    @property
    def _facts(self) -> tuple[str, str, str]:
        """What is known beside name and revision; a fingerprint stands in the place of a path."""
        root, parent = self.fingerprint or self.root, self.parent_fingerprint or self.parent
        return root, parent, self.served_revision

    @property
    def is_name_alone(self) -> bool:
        """Whether another model under the name could not be known_by from this one."""
        return not (self.revision or any(self._facts))

    @property
    def known_by(self) -> str:
        """What is known of it, in words."""
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
        """Return a sentence on what it is known by, and what to set where that is little."""
        said = f"the GSRM {self.name!r} is known by {self.known_by}"
        why = "; ".join(f"{url}: {fault}" for url, fault in self.faults.items())
        if self.is_name_alone:
            return (
                f"{said}{f' ({why})' if why else ''}: another model under this name would read its "
                "structures from the cache; set RLKD_GSRM_REVISION to what it is"
            )
        if not (self.fingerprint or self.revision or self.served_revision):
            return (
                f"{said}: a model that is retrained in this place is not noticed; set "
                "RLKD_GSRM_REVISION, or serve it from a folder that this machine has"
            )
        return said


def local_source(name: str, revision: str) -> ModelSource:
    """Return the source of a model that is loaded in this process, by its folder or hub's id."""
    return _source_of(name, revision, "", Card())


def served_source(name: str, revision: str, cards: Mapping[str, Card]) -> ModelSource:
    """Return the source of a model by what its servers tell.

    A server that tells nothing counts for none. Several that tell different things serve different
    models, unless `revision` says that they do not.

    Args:
        name: under which they are asked.
        revision: what `RLKD_GSRM_REVISION` says.
        cards: what they tell, by URL.

    Raises:
        RlkdError: if they serve different models.
    """
    faults = {url: card.fault for url, card in cards.items() if card.fault}
    found = {url: _source_of(name, revision, url, card) for url, card in cards.items()}
    telling = {url: source for url, source in found.items() if any(source._facts)}
    if len({source._facts for source in telling.values()}) > 1:
        if revision:
            return ModelSource(name, revision, faults=faults)
        each = "; ".join(f"{url}: {source.known_by}" for url, source in telling.items())
        raise RlkdError(
            f"the servers of RLKD_GSRM_BASE_URL serve different models as {name!r}: {each}. Serve "
            "one model; where it is one in several places, set RLKD_GSRM_REVISION to what it is"
        )
    source = next(iter(telling.values()), ModelSource(name, revision))
    return replace(source, faults=faults)


def _source_of(name: str, revision: str, url: str, card: Card) -> ModelSource:
    """Return the source of one server's model; without a URL it is in this process."""
    is_local = not url or is_this_machine(url)

    def fingerprint(model: str) -> str:
        folder = folder_of(model, is_local=is_local)
        return (weight_fingerprint(folder) if folder else None) or ""

    own = card.root or (name if "/" in name else "")  # a name that is a path says it itself
    return ModelSource(
        name,
        revision,
        root=card.root,
        parent=card.parent,
        served_revision=card.revision,
        fingerprint=fingerprint(own),
        parent_fingerprint=fingerprint(card.parent),
    )
