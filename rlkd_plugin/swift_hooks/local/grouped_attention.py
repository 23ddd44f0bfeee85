"""Grouped-query attention on a CPU that copies no keys and values in generation.

transformers repeats the keys and values of a padded batch for every query head of their group, at
each new token. Here one token's query heads of a group are the rows of one query instead. The
result is the same. The tokens of a prompt, all at once, go through transformers' own `sdpa`.
"""

from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "rlkd_grouped"


def share_keys(model: PreTrainedModel) -> None:
    """Make a model attend with `grouped_attention`."""
    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' attention functions do.

    Args:
        module: the attention layer.
        query: (batch, heads, tokens, width).
        key: (batch, groups, tokens so far, width); each group serves heads / groups heads.
        value: like `key`.
        attention_mask: (batch, 1, tokens, tokens so far), or none.
        scaling: factor of the products of query and key.
        options: further arguments, which only a prompt's tokens need.

    Returns:
        (batch, tokens, heads, width), and None for the weights.
    """
    batch, heads, tokens, width = query.shape
    if tokens > 1:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
    rows = query.reshape(batch, key.shape[1], -1, width)
    attended = torch.nn.functional.scaled_dot_product_attention(
        rows, key, value, attn_mask=attention_mask, scale=scaling
    )
    return attended.reshape(batch, 1, heads, width), None
