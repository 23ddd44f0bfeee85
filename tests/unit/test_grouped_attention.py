"""The attention of the small engine on a CPU beside transformers' own."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rlkd_plugin.swift_hooks.local.grouped_attention import grouped_attention, share_keys


class Layer(torch.nn.Module):
    num_key_value_groups = 3


@pytest.mark.parametrize("tokens", [1, 5], ids=["a new token", "a prompt"])
@pytest.mark.parametrize("masked", [False, True])
def test_it_attends_as_transformers_does(tokens: int, masked: bool) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, 9, tokens, 8).double()
    key, value = torch.randn(2, 2, 3, 7, 8).double()
    mask = torch.rand(2, 1, tokens, 7) < 0.6 if masked else None
    if masked:
        mask[..., 0] = True
    theirs, _ = sdpa_attention_forward(Layer(), query, key, value, mask, scaling=0.3)
    ours, _ = grouped_attention(Layer(), query, key, value, mask, scaling=0.3)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_padded_batch_is_generated_alike() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).double().eval()
    prompts = torch.randint(3, 64, (3, 9))
    padding = torch.ones_like(prompts)
    padding[0, :5] = padding[2, :2] = 0

    def generated() -> torch.Tensor:
        return model.generate(
            prompts, attention_mask=padding, max_new_tokens=24, do_sample=False, pad_token_id=0
        )

    theirs = generated()
    share_keys(model)
    assert model.config._attn_implementation == "rlkd_grouped"
    assert torch.equal(generated(), theirs)
