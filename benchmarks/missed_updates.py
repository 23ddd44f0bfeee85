"""How far a policy moves from one that misses its updates: k3_kl after 1, 2, 3 ... steps.

    python -m benchmarks.missed_updates

SmolLM2-135M in float32 writes completions; policy-gradient steps with AdamW then learn to write
more digits, a reward that all steps follow. k3_kl is ms-swift's measure, over completions that
are not trained on, of the policy after each step against the one that wrote them: what a rollout
server without the step's weights would show beside its noise. Minutes on a CPU.
"""

import random

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tools.stand_ins.places import MODEL

TEMPERATURE = 0.7
GROUP = 4
"""Completions of a prompt; the first one is kept for the measure."""
PROMPTS = 8
TOKENS = 40
BATCH = 8
RUNS = ((1e-6, 10), (1e-5, 5))
"""Learning rate, steps."""


def prompts() -> list[str]:
    """Return word problems, each as often as it has completions."""
    number = random.Random(0).randint
    texts = (
        f"Tom has {number(2, 30)} apples and buys {number(2, 30)} bags of {number(2, 9)}. "
        "How many apples has he?"
        for _ in range(PROMPTS)
    )
    return [text for text in texts for _ in range(GROUP)]


def main() -> None:
    """Print a line for each step of each run."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(MODEL, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    dialogues = [[{"role": "user", "content": prompt}] for prompt in prompts()]
    texts = tokenizer.apply_chat_template(dialogues, tokenize=False, add_generation_prompt=True)
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    begin = inputs.input_ids.shape[1]
    with torch.no_grad():
        ids = model.generate(  # pyright: ignore[reportAttributeAccessIssue]  # their own Protocol
            **inputs,
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=0,
            top_p=1.0,
            max_new_tokens=TOKENS,
            min_new_tokens=TOKENS,
            pad_token_id=tokenizer.pad_token_id,
        )
    mask = torch.cat([inputs.attention_mask, torch.ones_like(ids[:, begin:])], dim=1)

    def logps(rows: torch.Tensor) -> torch.Tensor:
        """Return the log-probabilities of completions, shape (rows, TOKENS)."""
        logits = model(input_ids=ids[rows], attention_mask=mask[rows]).logits[:, begin - 1 : -1]
        all_logps = torch.log_softmax(logits.float() / TEMPERATURE, dim=-1)
        return all_logps.gather(-1, ids[rows][:, begin:, None])[..., 0]

    digits = [sum(map(str.isdigit, text)) for text in tokenizer.batch_decode(ids[:, begin:])]
    rewards = torch.tensor(digits, dtype=torch.float32)
    rows = torch.arange(len(ids))
    kept, trained = rows[rows % GROUP == 0], rows[rows % GROUP != 0]
    first = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        written = logps(kept)
    for rate, steps in RUNS:
        model.load_state_dict(first)
        optimizer = torch.optim.AdamW(model.parameters(), rate, (0.9, 0.95), weight_decay=0.1)
        for step in range(1, steps + 1):
            batch = trained[torch.randperm(len(trained))[:BATCH]]
            spread = rewards[batch] - rewards[batch].mean()
            loss = -(spread[:, None] / (spread.std() + 1e-4) * logps(batch)).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                moved = logps(kept) - written
            print(f"{rate:g} step {step}: k3_kl {(moved.exp() - moved - 1).mean():.2e}")


if __name__ == "__main__":
    main()
