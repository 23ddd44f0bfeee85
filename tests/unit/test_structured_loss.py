"""The structured loss as a function of tensors, and on packed rows from ms-swift's own collator."""

import json
from typing import Any

import pytest
import torch

from rlkd_plugin.swift_hooks.structured.callback import Latest, RlkdStructured
from rlkd_plugin.swift_hooks.structured.loss import mask_to, structured_loss
from rlkd_plugin.swift_hooks.structured.tokens import META, NAME, SOLVE
from tests.support.structured_pairs import losses, raw_pairs
from tools.stand_ins.tiny_model import tiny_model

CODES = torch.tensor([0.0, META, META, SOLVE, 0.0, META, SOLVE])
EACH = torch.tensor([9.0, 1.0, 2.0, 4.0, 9.0, 6.0, 8.0])  # cross-entropy of each token
CODED = torch.where(CODES > 0, EACH * CODES, 0)


def test_each_set_has_its_mean() -> None:
    # meta (1 + 2 + 6) / 3 = 3, solving (4 + 8) / 2 = 6; 2 * 3 + 0.5 * 6 = 9
    loss, parts = structured_loss(CODED, CODES, (3, 2), (2.0, 0.5))
    assert loss.item() == 9.0
    assert parts.tolist() == [3.0, 6.0]


def test_the_parts_of_a_step_add_up_to_it() -> None:
    whole, _ = structured_loss(CODED, CODES, (3, 2), (2.0, 0.5))
    parts = [
        structured_loss(CODED[cut], CODES[cut], (3, 2), (2.0, 0.5))[0]
        for cut in (slice(0, 3), slice(3, 4), slice(4, 7))
    ]
    assert sum(parts).item() == pytest.approx(whole.item())


def test_a_step_without_a_token_of_the_phase_has_loss_0_and_a_gradient() -> None:
    """Every rank goes through the same backward pass, and nothing is divided by 0."""
    coded = torch.zeros(4, requires_grad=True)
    loss, parts = structured_loss(coded, torch.zeros(4), (0, 0), (1.0, 0.0))
    loss.backward()
    assert loss.item() == 0 and parts.tolist() == [0, 0]
    assert coded.grad.tolist() == [0, 0, 0, 0]


def test_masking_keeps_the_phase_alone_and_counts_it() -> None:
    """The first token of a row is predicted by nothing, so it does not count."""
    batch = {
        "labels": torch.tensor([[-100, 5, 6, 7], [4, 5, -100, -100]]),
        "loss_scale": torch.tensor([[0, META, SOLVE, SOLVE], [META, META, 0, 0]]),
    }
    counts = mask_to(batch, (META,))
    assert counts.tolist() == [2, 0]
    assert batch["labels"].tolist() == [[-100, 5, -100, -100], [4, 5, -100, -100]]
    assert batch["loss_scale"].tolist() == [[0, META, 0, 0], [META, META, 0, 0]]


def test_a_label_that_is_masked_already_does_not_count() -> None:
    """A row that was cut has codes without labels nowhere, but ms-swift may mask more."""
    batch = {
        "labels": torch.tensor([[-100, -100, 6]]),
        "loss_scale": torch.tensor([[0, META, SOLVE]]),
    }
    assert mask_to(batch, (META, SOLVE)).tolist() == [0, 1]


def test_the_latest_value_is_logged_once() -> None:
    metric = Latest()
    metric.update(1.0)
    metric.update(2.0)
    assert metric.compute() == 2.0
    metric.reset()
    assert metric.compute() is None


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """ms-swift's own trainer, built in this process as `swift sft` builds it."""
    from swift.arguments import SftArguments
    from swift.pipelines import SwiftSft
    from swift.trainers import TrainerFactory

    folder = tmp_path_factory.mktemp("packed")
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in raw_pairs(4)))
    args = SftArguments(
        model=str(tiny_model(folder / "Qwen2.5-7B-Instruct")),
        external_plugins=["rlkd_plugin/register.py"],
        dataset=[f"rlkd/gsrm-sft:{file}"],
        **dict.fromkeys(("loss_type", "loss_scale"), NAME),
        callbacks=[NAME],
        num_train_epochs=3,
        tuner_type="full",
        torch_dtype="float32",
        fp16=False,
        bf16=False,
        use_cpu=True,
        check_model=False,
        report_to=["none"],
        output_dir=str(folder / "run"),
        gradient_checkpointing=False,
    )
    sft = SwiftSft(args)
    rows, _ = sft._prepare_dataset()
    sft.model = sft.prepare_model(args, sft.model, template=sft.template, train_dataset=rows)
    return TrainerFactory.get_trainer_cls(args)(
        model=sft.model, args=args.training_args, template=sft.template, train_dataset=rows
    )


@pytest.mark.parametrize("cut", [(4,), (1, 3), (2, 2)], ids=str)
@pytest.mark.parametrize(
    ("phase", "weights"), [("meta", (1.0, 0.0)), ("solve", (0.0, 1.0)), ("mixed", (1.5, 0.7))]
)
def test_packed_rows_have_the_exact_loss_and_gradients(
    trainer: Any, phase: str, weights: tuple[float, float], cut: tuple[int, ...]
) -> None:
    """Rows in one sequence with positions of their own, one or several such a step."""
    template, device = trainer.template, torch.device("cpu")
    rows = [trainer.train_dataset[i] for i in range(4)]
    template.padding_free = True
    batches = []
    for count in cut:
        batch = template.data_collator([dict(rows.pop(0)) for _ in range(count)])
        batches.append({k: v for k, v in batch.items() if k != "attention_mask"})
    callback = next(c for c in trainer.callback_handler.callbacks if isinstance(c, RlkdStructured))
    callback.phase, trainer.rlkd_step.weights = phase, weights
    samples, items = trainer.get_batch_samples(iter(batches), len(batches), device)
    # in float32 gradients that nearly cancel depend on how sums are divided among threads
    trainer.model.double().train()
    trainer.model.zero_grad()
    total = sum(
        trainer.training_step(trainer.model, sample, num_items_in_batch=items).item()
        for sample in samples
    )
    template.padding_free = False
    ours = {k: p.grad.clone() for k, p in trainer.model.named_parameters()}

    network, tokenizer = trainer.model, template.tokenizer
    network.zero_grad()
    meta, solve = losses(network, tokenizer, raw_pairs(4))
    expected = weights[0] * meta + weights[1] * solve
    expected.backward()
    theirs = {k: p.grad.clone() for k, p in network.named_parameters()}
    trainer.model.float()
    assert total == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in theirs.items():
        error = (ours[name].double() - gradient).norm() / gradient.norm()
        assert error < 1e-5, name


def test_logits_are_computed_for_the_phase_alone(trainer: Any) -> None:
    """With one row a batch ms-swift keeps the logits of labelled tokens, and one more."""
    kept = {}
    for phase in ("meta", "solve", "mixed"):
        batch = trainer.template.data_collator([dict(trainer.train_dataset[1])])
        callback = next(
            c for c in trainer.callback_handler.callbacks if isinstance(c, RlkdStructured)
        )
        callback.phase, trainer.rlkd_step.weights = phase, (1.0, 1.0)
        (sample,), _ = trainer.get_batch_samples(iter([batch]), 1, torch.device("cpu"))
        count = int((sample["labels"] != -100).sum())
        trainer.prepare_logits_to_keep(sample)
        with torch.no_grad():
            ids, keep = sample["input_ids"], sample["logits_to_keep"]
            logits = trainer.model(ids, logits_to_keep=keep).logits
        assert logits.shape[1] == count + 1
        kept[phase] = count
    assert kept["meta"] + kept["solve"] == kept["mixed"]


def test_a_batch_of_none_passes_through(trainer: Any) -> None:
    """At the end of the data there is nothing to count."""
    assert trainer.get_batch_samples(iter([]), 2, torch.device("cpu"))[0] == []
