"""The trainings: the stages that make the student, and the arms that are compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Stage:
    """A training by ms-swift.

    Attributes:
        name: of its folder.
        title: in tables and figures.
        command: of ms-swift, `sft` or `rlhf`.
        config: its YAML beside this file.
        start: the name of the stage whose student it trains.
        options: beyond the YAML's, for a search.
    """

    name: str
    title: str
    command: str
    config: str
    start: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def yaml(self) -> Path:
        """The recipe."""
        return HERE / self.config


UNTRAINED = "untrained"
PRETRAINED = Stage("pretrained", "pretrained", "sft", "pretrain.yaml", UNTRAINED)
WARMED = Stage("warmed", "warmed up", "sft", "warm.yaml", "pretrained")
STUDENTS = (PRETRAINED, WARMED)
"""The stages that every arm starts from; trained once."""

ARMS = (
    Stage("sft", "SFT", "sft", "sft.yaml", "warmed"),
    Stage("grpo", "GRPO", "rlhf", "grpo.yaml", "warmed"),
    Stage("rlkd", "RLKD", "rlhf", "rlkd.yaml", "warmed"),
    Stage("shuffled", "RLKD, rewards shuffled", "rlhf", "rlkd_shuffled.yaml", "warmed"),
    Stage("priced", "RLKD, extra steps priced", "rlhf", "rlkd_priced.yaml", "warmed"),
    Stage("grpo_zero", "GRPO-Zero", "rlhf", "grpo_zero.yaml", "pretrained"),
    Stage("rlkd_zero", "RLKD-Zero", "rlhf", "rlkd_zero.yaml", "pretrained"),
)
"""The arms, each trained once a seed, on equal problems, for equally many optimizer steps."""

PAIRS = (
    ("rlkd", "grpo"),
    ("rlkd", "sft"),
    ("grpo", "sft"),
    ("rlkd", "shuffled"),
    ("priced", "rlkd"),
    ("rlkd_zero", "grpo_zero"),
    ("sft", "warmed"),
    ("grpo", "warmed"),
    ("rlkd", "warmed"),
    ("priced", "warmed"),
)
"""The differences that are tested: first minus second."""
