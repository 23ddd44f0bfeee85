"""The reference recipe's fourth reward: a quarter for each of the four think/answer tags."""

from typing import Any

from swift.rewards import ORM

IN_PLACE = ("<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>")
"""The four tags, each with the line breaks that belong beside it."""


def tag_count(completion: str) -> float:
    """Return a quarter for each tag that stands exactly once beside its line breaks, in [0, 1].

    It is the rule of the Open-R1 recipe on which the paper's code builds (section 4.1), and
    leads a model to the form that the all-or-nothing `format` rewards. It looks at each tag alone,
    not at their order. An opening tag that the template prefills is not part of the completion
    and does not count.
    """
    return sum(completion.count(tag) == 1 for tag in IN_PLACE) / len(IN_PLACE)


class RlkdTagCount(ORM):
    """`--reward_funcs rlkd_tag_count`."""

    def __call__(self, completions: list[str], **kwargs: Any) -> list[float]:
        return [tag_count(completion) for completion in completions]
