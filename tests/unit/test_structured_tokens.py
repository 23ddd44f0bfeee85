"""Which tokens are meta-reasoning and which solving, with tokenizers of three families."""

import copy
import re
from typing import Any

import pytest

from rlkd_plugin.gsrm import FormatError, Step, Structure, parse_structure, render_structure
from rlkd_plugin.gsrm.structure import meta_reasoning_spans
from rlkd_plugin.swift_hooks.structured.tokens import META, NAME, SOLVE
from tests.support.templates import small_model, template, tokenizer_with
from tools.stand_ins.tiny_model import byte_level_tokenizer, chat_tokenizer

STRUCTURES = {
    "plain": render_structure(
        Structure(
            (
                Step("Add what is known.", "What is 2 + 3?", "5"),
                Step("Then double it, by [Answer 1].", "What is 2 * 5?", "$2 \\cdot 5 = 10$"),
            ),
            "10",
        )
    ),
    "one line": "[Meta-reasoning 1]: Plan. [Sub-problem 1]: Q? [Answer 1]: A.\n"
    "So the final answer is: A",
    "paragraphs": "[Meta-reasoning 1]:  Plan\n\nin two parts. \n[Sub-problem 1]: Q?\n\n\n"
    "[Answer 1]: A \n\n"
    "[Meta-reasoning 2]: B\t\n[Sub-problem 2]: C [Answer 2]: D\n\nSo the final answer is: D",
    "languages": render_structure(
        Structure((Step("先数人数 \u00e9t\u00e9 😀", "多少人?", "144 人"),) * 3, "144 人")
    ),
    "preamble": "Sure! Here it is:\n[Meat-reasoning 1] Plan\n**[Query 1]** Q?\n[Answer 1]: A\n"
    "So the final answer is A",
}


def byte_level_qwen() -> Any:
    """A byte-level BPE with the split rule of Qwen2, trained here."""
    return byte_level_tokenizer(list(STRUCTURES.values()) * 20, 600)


def sentence_piece() -> Any:
    """SentencePiece's kind: its marks for spaces, one before the text as well; trained here."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Metaspace(prepend_scheme="first")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"])
    tokenizer.train_from_iterator([*STRUCTURES.values(), *["a a a a"] * 20] * 20, trainer)
    return chat_tokenizer(tokenizer)


TOKENIZERS = {
    "smollm2": tokenizer_with,
    "qwen split": byte_level_qwen,
    "sentence piece": sentence_piece,
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """One of three families of tokenizers."""
    return TOKENIZERS[request.param]()


def encoded(tokenizer: Any, text: str, loss_scale: str) -> dict[str, Any]:
    """A conversation whose reply is the text, as ms-swift encodes it for training."""
    made = template(copy.deepcopy(tokenizer), "train", loss_scale=loss_scale)
    messages = [{"role": "user", "content": "Take it apart."}]
    return made.encode({"messages": [*messages, {"role": "assistant", "content": text}]})


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_ids_are_those_of_the_text_as_a_whole(tokenizer: Any, name: str) -> None:
    """Ids and labels equal those of a plain `swift sft` on the same row."""
    ours, plain = (encoded(tokenizer, STRUCTURES[name], scale) for scale in (NAME, "default"))
    assert ours["input_ids"] == plain["input_ids"]
    assert ours["labels"] == plain["labels"]


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_token_of_the_response_is_in_one_set(tokenizer: Any, name: str) -> None:
    """The end of the turn among them; no token of the prompt is in any."""
    row = encoded(tokenizer, STRUCTURES[name], NAME)
    for label, code in zip(row["labels"], row["loss_scale"], strict=True):
        assert (code in (META, SOLVE)) == (label != -100)
    end = row["labels"].index(tokenizer.convert_tokens_to_ids("<|im_end|>"))
    assert row["loss_scale"][end] == SOLVE


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_meta_tokens_spell_the_meta_reasoning(tokenizer: Any, name: str) -> None:
    """From each tag to the next; what a token has of the white space between may go either way."""
    text = STRUCTURES[name]
    row = encoded(tokenizer, text, NAME)
    pairs = list(zip(row["labels"], row["loss_scale"], strict=True))
    runs: list[list[int]] = [[]]
    for label, code in pairs:
        if label != -100 and code == META:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    said = [tokenizer.decode(run) for run in runs if run]
    # an expression of its own, so that the parser's reading is not tested by itself
    tag = r"\[M\w+-reasoning \d\].*?(?=[\s*]*\[(?:Sub-problem|Query) \d\])"
    meant = re.findall(tag, text, re.DOTALL)
    assert [squeezed(part) for part in said] == [squeezed(part) for part in meant]


def squeezed(text: str) -> str:
    """Leave out what stands between a word and the next tag."""
    return re.sub(r"[\s*\u2581]+", "", text)


def test_a_token_that_reaches_into_a_tag_belongs_to_it() -> None:
    """SmolLM2 has one token for a space and the bracket after it."""
    text = STRUCTURES["one line"]
    row = encoded(tokenizer_with(), text, NAME)
    tokens = tokenizer_with().convert_ids_to_tokens(row["input_ids"])
    crossing = [i for i, token in enumerate(tokens) if re.search(r"[ĠĊ]\[", token)]
    assert len(crossing) == 2
    for i in crossing:
        assert row["loss_scale"][i] == row["loss_scale"][i + 1]


def test_a_text_without_structure_is_solving() -> None:
    """It is refused before training; in evaluation it counts as one span."""
    row = encoded(tokenizer_with(), "I do not know.", NAME)
    assert set(row["loss_scale"]) == {0.0, SOLVE}


def test_a_cut_response_keeps_the_sets_of_what_is_left() -> None:
    """With `--truncation_strategy right` a span ends where the row does."""
    tokenizer = tokenizer_with()
    whole = encoded(tokenizer, STRUCTURES["plain"], NAME)
    first_meta = whole["loss_scale"].index(META)
    made = template(
        tokenizer, "train", loss_scale=NAME, max_length=first_meta + 4, truncation_strategy="right"
    )
    messages = [
        {"role": "user", "content": "Take it apart."},
        {"role": "assistant", "content": STRUCTURES["plain"]},
    ]
    row = made.encode({"messages": messages})
    assert row["loss_scale"] == whole["loss_scale"][: first_meta + 4]
    assert set(row["loss_scale"][first_meta:]) == {META}


def test_a_chain_of_loss_scales_keeps_the_codes() -> None:
    """Hybrid-thinking templates append `ignore_empty_think` by themselves."""
    alone, chained = (
        encoded(tokenizer_with(), STRUCTURES["plain"], scale)
        for scale in (NAME, f"{NAME}+ignore_empty_think")
    )
    assert alone["loss_scale"] == chained["loss_scale"]


def test_a_prefilled_empty_thought_is_not_learned() -> None:
    """Hybrid-thinking templates put it before the response; labels are those of a plain run."""
    from swift import get_template

    from rlkd_plugin.swift_hooks.registry import register_all

    register_all()
    rows = []
    for loss_scale in (f"{NAME}+ignore_empty_think", "default+ignore_empty_think"):
        tokenizer = tokenizer_with("<think>", "</think>")
        tokenizer.model_info, tokenizer.model_meta = small_model()
        made = get_template(tokenizer, template_type="qwen3", loss_scale=loss_scale)
        made.set_mode("train")
        messages = [
            {"role": "user", "content": "Take it apart."},
            {"role": "assistant", "content": STRUCTURES["plain"]},
        ]
        rows.append(made.encode({"messages": messages}))
    ours, plain = rows
    assert "</think>" in tokenizer.decode(ours["input_ids"])
    assert "</think>" not in tokenizer.decode([t for t in ours["labels"] if t >= 0])
    assert (ours["input_ids"], ours["labels"]) == (plain["input_ids"], plain["labels"])


def test_a_slow_tokenizer_is_refused() -> None:
    """It cannot say where a token stands."""
    from rlkd_plugin.gsrm import RlkdError

    made = template(tokenizer_with(), "train", loss_scale=NAME)
    made.processor = type("Slow", (), {"is_fast": False})()
    with pytest.raises(RlkdError, match="needs a fast tokenizer"):
        _ = made.loss_scale


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_spans_are_where_the_parser_reads_meta_reasoning(name: str) -> None:
    """One span a step, each holding the step's own text."""
    text = STRUCTURES[name]
    spans = meta_reasoning_spans(text)
    steps = parse_structure(text).steps
    assert len(spans) == len(steps)
    for (start, end), step in zip(spans, steps, strict=True):
        assert text[start] in "[*"
        assert step.meta_reasoning.split("\n")[0].split("(")[0] in text[start:end].replace("[", "(")


@pytest.mark.parametrize("text", ["", "no tag", "[Answer 1]: x", "[Meta-reasoning 2]: x"])
def test_without_a_first_step_there_is_no_span(text: str) -> None:
    assert meta_reasoning_spans(text) == []
    with pytest.raises(FormatError):
        parse_structure(text)


def test_a_span_that_is_cut_off_reaches_to_the_end() -> None:
    text = "[Meta-reasoning 1]: and then"
    assert meta_reasoning_spans(text) == [(0, len(text))]


LAID_OUT = {
    "marks": "- [Meta-reasoning 1]: Plan\n- [Sub-problem 1]: Q?\n- [Answer 1]: A\n"
    "### [Meta-reasoning 2]: B\n### [Sub-problem 2]: C\n### [Answer 2]: D\n[End]",
    "headings": "```\n### Step 1\n[Meta-reasoning 1]: Plan\n[Sub-problem 1]: Q?\n[Answer 1]: A\n\n"
    "---\n\n### Step 2\n**[Meta-reasoning 2]:** B\n[Sub-problem 2]: C\n[Answer 2]: D\n```",
    "look-alikes": "\u3010Meta\u2011reasoning 1\u3011\uff1aPlan\n"
    "\uff3bSub\u2013problem \uff11\uff3d\uff1aQ?\n[Answer\u202f1]: A\n"
    "\u3010Meta-reasoning 2\u3011B \u3010Sub-problem 2\u3011C \u3010Answer 2\u3011D",
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_a_span_holds_the_whole_tag_and_nothing_of_other_fields(name: str) -> None:
    """What stands on a tag's line before it belongs to the tag; a heading above it to solving."""
    text = LAID_OUT[name]
    spans = [text[start:end] for start, end in meta_reasoning_spans(text)]
    steps = parse_structure(text).steps
    assert [step.meta_reasoning for step in steps] == ["Plan", "B"]
    assert [step.answer for step in steps] == ["A", "D"]
    for span, step in zip(spans, steps, strict=True):
        assert span.strip("-# \n").startswith(("[Meta", "**[Meta", "\u3010Meta"))
        assert span.rstrip("\n ").endswith(step.meta_reasoning)
        assert "Sub" not in span and "Step" not in span
        assert text[text.index(span) - 1 : text.index(span)] in ("", "\n")


@pytest.mark.parametrize("name", LAID_OUT)
def test_every_token_of_a_text_with_layout_is_in_one_set(name: str) -> None:
    row = encoded(tokenizer_with(), LAID_OUT[name], NAME)
    for label, code in zip(row["labels"], row["loss_scale"], strict=True):
        assert (code in (META, SOLVE)) == (label != -100)
    said = [(lb, c) for lb, c in zip(row["labels"], row["loss_scale"], strict=True) if lb != -100]
    meta = tokenizer_with().decode([label for label, code in said if code == META])
    assert "Plan" in meta and "B" in meta and "Q?" not in meta and "Step" not in meta
