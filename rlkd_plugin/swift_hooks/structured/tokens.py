"""The loss scale `rlkd_structured`: which tokens of a response are meta-reasoning, which solving.

A loss scale gives each token a number. Here it is no weight, but a code for the token's set, which
the loss reads (`structured_loss`). Every token of a response is in exactly one set: a tag belongs
to the span that it opens, or the GSRM would never learn to write it; the final answer and the end
of the turn belong to solving, or it would never learn to stop.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from swift.loss_scale import LossScale
from swift.template import Template
from transformers import PreTrainedTokenizerBase

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.gsrm.structure import meta_reasoning_spans

NAME = "rlkd_structured"

SOLVE, META = 1.0, 2.0
"""The codes. ms-swift itself writes 1 for an end of turn that it adds, which is solving."""


class StructuredLossScale(LossScale):
    """Codes the tokens of a response; `tokenizer` is set by the template that uses it."""

    is_binary = False
    tokenizer: PreTrainedTokenizerBase | None = None

    def get_loss_scale(
        self, context: str | list[int], **kwargs: Any
    ) -> tuple[list[str | list[int]], list[float]]:
        """Return the response as lists of token ids, one list for each run of a code.

        The ids are those of the whole text, tokenized once. To tokenize span by span would give
        other ids at the borders, different ones in each tokenizer.
        """
        if not isinstance(context, str) or not (spans := meta_reasoning_spans(context)):
            return [context], [SOLVE]
        assert self.tokenizer is not None  # the template has set it
        ids, codes = encode_with_codes(self.tokenizer, context, spans)
        runs = [list(run) for _, run in groupby(zip(ids, codes, strict=True), lambda pair: pair[1])]
        return [[token for token, _ in run] for run in runs], [run[0][1] for run in runs]


def encode_with_codes(
    tokenizer: PreTrainedTokenizerBase, text: str, meta: Sequence[tuple[int, int]]
) -> tuple[list[int], list[float]]:
    """Return a text's token ids and the code of each.

    A token belongs where its last character does: some tokenizers put the space or the line break
    before a tag into one token with the tag's bracket.

    Args:
        tokenizer: a fast one, which knows the characters of each token.
        text: a structure text.
        meta: character ranges of the meta-reasonings, in order.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    codes: list[float] = []
    span = 0
    for start, end in encoded["offset_mapping"]:
        last = max(start, end - 1)
        while span < len(meta) and last >= meta[span][1]:
            span += 1
        codes.append(META if span < len(meta) and last >= meta[span][0] else SOLVE)
    return encoded["input_ids"], codes


def uses_codes(loss_scale: LossScale) -> StructuredLossScale | None:
    """Return our loss scale if it is used, alone or in a chain such as `last_round+NAME`."""
    parts = getattr(loss_scale, "loss_scales", [loss_scale])
    return next((part for part in parts if isinstance(part, StructuredLossScale)), None)


def give_tokenizer() -> None:
    """Make each template hand its tokenizer to our loss scale; no other loss scale changes.

    ms-swift makes a loss scale from its name alone, inside this property.
    """
    host = Template.loss_scale.fget
    assert host is not None  # a property has a getter
    if getattr(host, "gives_tokenizer", False):
        return

    def loss_scale(self: Template) -> LossScale:
        found = host(self)
        if ours := uses_codes(found):
            if self.use_megatron:
                raise RlkdError(
                    f"--loss_scale {NAME} is for `swift sft`; Megatron would use the "
                    "codes of the tokens as weights"
                )
            if ours is not found:
                # ours last: it hands on token ids, in which no other finds its texts
                found.loss_scales.sort(key=lambda part: part is ours)
            if not self.tokenizer.is_fast:
                raise RlkdError(
                    f"--loss_scale {NAME} needs a fast tokenizer, which knows the place of each "
                    f"token in the text; {type(self.tokenizer).__name__} is not one"
                )
            ours.tokenizer = self.tokenizer
        return found

    loss_scale.gives_tokenizer = True
    Template.loss_scale = property(loss_scale)  # pyright: ignore[reportAttributeAccessIssue]  # replaces the property itself
