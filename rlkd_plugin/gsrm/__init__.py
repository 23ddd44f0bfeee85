"""The paper, in the standard library alone: steps, Algorithm 1, prompts, errors."""

from rlkd_plugin.gsrm.algorithm import Question, StructuredReward, Walk, structured_reward, walk
from rlkd_plugin.gsrm.errors import EndpointError, FormatError, RlkdError
from rlkd_plugin.gsrm.structure import Step, Structure, parse_structure, render_structure
from rlkd_plugin.gsrm.tags import FIELDS, Field, escape_tags

__all__ = [
    "FIELDS",
    "EndpointError",
    "Field",
    "FormatError",
    "Question",
    "RlkdError",
    "Step",
    "Structure",
    "StructuredReward",
    "Walk",
    "escape_tags",
    "parse_structure",
    "render_structure",
    "structured_reward",
    "walk",
]
