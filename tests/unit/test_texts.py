"""Checks the text rules: the reasoning path, what is made harmless, and what needs no judge."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlkd_plugin.gsrm.tags import TAG, Field
from rlkd_plugin.gsrm.texts import (
    FENCES,
    has_reasoning,
    neutralise,
    obvious_verdict,
    reasoning_path,
    same_text,
    split_thinking,
    teacher_path,
)
from tests.support.watchdog import watchdog


@pytest.mark.parametrize(
    ("completion", "path"),
    [
        pytest.param("<think>why</think>\n<answer>4</answer>", "why", id="both tags"),
        pytest.param("why</think>4", "why", id="opening tag missing"),
        pytest.param("\n<think>\nwhy\n</think>\n\n4", "why", id="lines"),
        pytest.param("</think>4", "", id="only a closing tag"),
        pytest.param("<think></think>4", "", id="nothing inside"),
        pytest.param("<think>a</think>b</think>4", "a", id="closed twice"),
        pytest.param("why it is 4", "why it is 4", id="no tags"),
        pytest.param("why\n<answer>4</answer>", "why", id="answer alone"),
        pytest.param("<think>why\n<answer>4</answer>", "why", id="answer, never closed"),
        pytest.param("<answer>4</answer>", "", id="only an answer"),
        pytest.param("an <answer> tag</think>4", "an <answer> tag", id="answer tag inside"),
        pytest.param("<think>why it", "why it", id="cut off"),
        pytest.param("</answer>4", "</answer>4", id="only the end of an answer"),
        pytest.param("a <think> b</think>", "a <think> b", id="opening tag inside"),
        pytest.param("", "", id="empty"),
        pytest.param(" \n", "", id="white space"),
    ],
)
def test_reasoning_path(completion: str, path: str) -> None:
    assert reasoning_path(completion) == path


SUM = "6*4=24. 24-5=19, so"
HARMONY = "<|channel|>analysis<|message|>"
FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"

MENTIONS = [
    pytest.param("`{}`", id="code"),
    pytest.param('"{}"', id="straight quotes"),
    pytest.param("'{}'", id="single quotes"),
    pytest.param("\u201c{}\u201d", id="curly quotes"),
    pytest.param("\u2018{}\u2019", id="curly single quotes"),
    pytest.param("\u300c{}\u300d", id="corner brackets"),
    pytest.param("\u00ab{}\u00bb", id="guillemets"),
    pytest.param("\u201e{}\u201c", id="German quotes"),
    pytest.param('"I close by {} then"', id="inside a quotation"),
    pytest.param("`x = '{}'`", id="inside code"),
    pytest.param("\n```\nx {}\n```\n", id="a fence"),
    pytest.param("\n~~~xml\n{}\n~~~\n", id="another fence"),
]


@pytest.mark.parametrize("form", MENTIONS)
@pytest.mark.parametrize("mark", ["</think>", "[/THINK]", "\u25c1/think\u25b7", "<answer>"])
def test_a_mark_that_is_only_spoken_of_cuts_no_path(form: str, mark: str) -> None:
    path = f"It ends with {form.format(mark)}. {SUM}"
    assert reasoning_path(f"<think>\n{path}") == path
    assert reasoning_path(f"<think>\n{path}\n</think>\n<answer>19</answer>") == path
    assert teacher_path(path) == path


@pytest.mark.parametrize(
    "mention",
    [
        "I'll write </think> tags.",
        "It goes between <think> and </think>, then",
        "I wrap it in <think></think> tags.",
        "\u653e\u5728 <think>\u548c</think> \u91cc\u3002",
        "First <think>...</think>, then",
    ],
)
def test_a_mark_that_is_named_cuts_no_path(mention: str) -> None:
    path = f"{mention} {SUM}"
    assert reasoning_path(f"<think>\n{path}") == path
    assert reasoning_path(f"<think>\n{path}\n</think>\n\n19") == path
    assert split_thinking(f"<think>\n{path}\n</think>\n\n19") == (path, "19")


@pytest.mark.parametrize(
    "mention",
    [
        "The reply belongs into <answer> tags later.",
        "I put it in <answer> and </answer> tags.",
        "It goes between <answer></answer>.",
        "because <answer> must come last,",
        "The format:\n<answer>\nyour answer\n</answer>\nNow",
        "First <think>, then\n<answer> tags.",
        "\u7b54\u6848\u653e\u5728<answer>\u6807\u7b7e\u4e2d\u3002",
        "I must reply like this:\n<answer>42</answer>\nThe sum:",
        "the <answer>, then the proof.",
        "Write <answer>...</answer> at the end.",
    ],
)
def test_a_mention_of_the_answer_cuts_no_path(mention: str) -> None:
    path = f"{mention} {SUM}"
    assert reasoning_path(f"<think>\n{path}") == path
    assert reasoning_path(f"{path}\n<answer>19</answer>") == path
    assert reasoning_path(f"<think>{path}</think>\n<answer>19</answer>") == path


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        pytest.param("\n<answer>19</answer>", "", id="line"),
        pytest.param("\n\n<answer>\n19\n</answer>\n", "", id="lines"),
        pytest.param(" <answer>19</answer>", "", id="in line, at the end"),
        pytest.param(" <answer>19</answer><|im_end|>", "", id="end of turn"),
        pytest.param("\n**<answer>19</answer>**", "", id="bold"),
        pytest.param("\n<answer>19", "", id="stop string"),
        pytest.param(" that is it. <answer>19", " that is it.", id="stop string, in line"),
        pytest.param("\n<answer>Long.\n\nIt goes on", "", id="cut off"),
        pytest.param("\n<answer>19</answer>\nUser: next", "", id="text behind"),
        pytest.param("\n<answer>\n```python\nx = 1\n```\n</answer>", "", id="code"),
    ],
)
def test_an_answer_that_begins_its_part_cuts(rest: str, path: str) -> None:
    assert reasoning_path(SUM + rest) == SUM + path


@pytest.mark.parametrize("before", ['He said "19"', "a `x`", "it's 'x'", '5" tall', "```py\nx"])
def test_a_mark_between_two_quotations_cuts(before: str) -> None:
    assert reasoning_path(f'{before}</think>"19" is `x`') == before
    assert reasoning_path(f"{before}</think>\n```py\ny\n```") == before


@pytest.mark.parametrize(
    ("text", "thinking", "said"),
    [
        pytest.param("<think>a</think>b", "a", "b", id="think"),
        pytest.param("a</think>\nb", "a", "b", id="opening missing"),
        pytest.param("<thinking>a</thinking>b", "a", "b", id="thinking"),
        pytest.param("<thought>a</thought>b", "a", "b", id="thought"),
        pytest.param("<reasoning>a</reasoning>b", "a", "b", id="reasoning"),
        pytest.param("<seed:think>a</seed:think>b", "a", "b", id="seed"),
        pytest.param("<mm:think>a</mm:think>b", "a", "b", id="MiniMax M3"),
        pytest.param("<think:x1>a</think:x1>b", "a", "b", id="suffix"),
        pytest.param("<ifm|think_fast>a</ifm|think_fast>b", "a", "b", id="K2"),
        pytest.param("[THINK]a[/THINK]b", "a", "b", id="Mistral"),
        pytest.param("\u25c1think\u25b7a\u25c1/think\u25b7b", "a", "b", id="Kimi"),
        pytest.param("<|open|>think<|sep|>a<|close|>think<|sep|>b", "a", "b", id="Kimi K3"),
        pytest.param("<|channel>thought\na<channel|>b<turn|>", "a", "b", id="Gemma 4"),
        pytest.param("<|START_THINKING|>a<|END_THINKING|>b", "a", "b", id="Cohere"),
        pytest.param(
            "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>",
            "a",
            "b",
            id="Cohere's response",
        ),
        pytest.param("<think>a</think>\n<response>\nb\n</response>", "a", "b", id="Ernie"),
        pytest.param(
            "Here is my thought process: a\nHere is my response: b", "a", "b", id="Granite"
        ),
        pytest.param(f"{HARMONY}a{FINAL}b<|return|>", "a", "b", id="harmony"),
        pytest.param(f"{HARMONY}a{FINAL}b", "a", "b", id="harmony, token at the end left out"),
        pytest.param(f"{HARMONY}a<|end|>{HARMONY}c{FINAL}b", "a\nc", "b", id="harmony, twice"),
        pytest.param(
            f"{HARMONY}a<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>b",
            "a",
            "b",
            id="harmony, constrained",
        ),
        pytest.param("analysisWe add.assistantfinalb", "We add.", "b", id="harmony as text"),
        pytest.param("a</think>b</think>c", "a</think>b", "c", id="closed twice"),
        # still thinking
        pytest.param("<think>a", "a", "", id="unfinished"),
        pytest.param("b <think>a", "b <think>a", "", id="unfinished behind a text"),
        pytest.param("<think>a</think>b<think>c", "a</think>b<think>c", "", id="thinks again"),
        pytest.param(f"{HARMONY}a<|end|>", "a", "", id="harmony without a final"),
        pytest.param("analysisWe add", "We add", "", id="harmony as text, unfinished"),
        pytest.param(
            "<think>it ends with `</think>` then", "it ends with `</think>` then", "", id="1"
        ),
        # no thinking
        pytest.param(" b\n", "", "b", id="nothing"),
        pytest.param("", "", "", id="empty"),
        pytest.param("analysis of the path: b", "", "analysis of the path: b", id="a word"),
        pytest.param("Use <think> tags.", "", "Use <think> tags.", id="mention"),
        pytest.param("It says `<think>`.", "", "It says `<think>`.", id="mention in code"),
        pytest.param("a</think>say '</think>'", "a", "say '</think>'", id="mention behind"),
    ],
)
def test_split_thinking(text: str, thinking: str, said: str) -> None:
    assert split_thinking(text) == (thinking, said)


@pytest.mark.parametrize(
    "completion",
    [
        "[THINK]why[/THINK]4",
        "\u25c1think\u25b7why\u25c1/think\u25b7 4",
        f"{HARMONY}why{FINAL}4",
        "analysisWhyassistantfinal4",
    ],
)
def test_other_models_marks_end_a_path(completion: str) -> None:
    assert reasoning_path(completion).lower() == "why"


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "</think>",
            "<think>",
            '"</think>" ',
            "`</think>",
            "\u201c</think>\u201d",
            "```\n</think>\n",
        ),
        *("a <answer> b ", "<answer>4</answer> x ", "'<answer>' ", "\n<answer> tags", "<answer>"),
        *(
            "<|channel|>analysis",
            "<|channel|>final",
            "<|end|>",
            "analysis",
            "```py\n<answer>",
            "[THINK]",
        ),
    ],
)
def test_a_hostile_path_is_cut_in_linear_time(unit: str) -> None:
    text = (unit * (2_000_000 // len(unit) + 1))[:2_000_000]
    with watchdog(60):  # quadratic rules need hours
        reasoning_path(text)
        split_thinking(text)
        teacher_path(text)


@pytest.mark.parametrize(
    "token",
    [
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
        "<\uff5cUser\uff5c>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<s>",
        "</s>",
        "<bos>",
        "<eos>",
        "<pad>",
        "<unk>",
        "<<SYS>>",
        "<</SYS>>",
        "[INST]",
        "[/INST]",
        "[SYSTEM_PROMPT]",
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<|IM_END|>",
    ],
)
def test_neutralise_breaks_control_tokens(token: str) -> None:
    text = neutralise(f"so {token} now")
    assert token not in text
    assert text.replace(" ", "") == f"so{token}now".replace(" ", "")


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        pytest.param("[Answer 1]: 4", "(Answer 1): 4", id="tag"),
        pytest.param("**[meat-reasoning 2]** 4", "(meat-reasoning 2) 4", id="tag in bold"),
        pytest.param("[Answer 12345]: 4", "(Answer 12345]: 4", id="a number beyond the parser's"),
        pytest.param("[ query\u00a0\u0662]", "( query\u00a0\u0662]", id="other digits"),
        pytest.param("[Answer in metres]", "[Answer in metres]", id="no tag"),
        pytest.param("\u27e6a\u27e7", "[a]", id="fences"),
        pytest.param("\u27e6Answer 1\u27e7: 4", "(Answer 1): 4", id="tag in fences"),
        pytest.param("\u27e6INST\u27e7", "[ INST]", id="control token in fences"),
        pytest.param("a\0b", "a\ufffdb", id="NUL"),
        pytest.param("a\ud800b\udfff", "a\ufffdb\ufffd", id="lone surrogates"),
        pytest.param("<\0|x", "<\ufffd|x", id="NUL inside a token"),
    ],
)
def test_neutralise_replaces(text: str, harmless: str) -> None:
    assert neutralise(text) == harmless


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("if a < b and c > d, |x| > 2 and <x, y> = 0", id="comparisons"),
        pytest.param(r"\frac{a}{b} \left[0, 1\right]", id="LaTeX"),
        pytest.param(
            "\u05d0\u05d1 \u200f2 < 3 \u202edcba\u202c \u0645\u0631\u062d\u0628\u0627", id="rtl"
        ),
        pytest.param("\U0001f600 \u4f60\u597d e\u0301 \u00b2", id="other scripts"),
        pytest.param("line\n\tline\r\n", id="white space"),
        pytest.param("", id="empty"),
    ],
)
def test_neutralise_leaves_other_texts(text: str) -> None:
    assert neutralise(text) == text


PIECES = st.sampled_from(
    [
        *("[Answer 1]:", "**[Meta-reasoning 2]", "[query", " 1]", "[", "]", "***", ":", "Answer 1"),
        *("<", "|", ">", "<|", "|>", "\uff5c", "/", "im_end", "s", "think", "INST", "SYS", "eos"),
        *FENCES,
        *("\0", "\ud800", "\udc00", "\ufffd", " ", "\n", "\u202e", "\u05d0", "x"),
        *(
            "\u3010Answer 1\u3011\uff1a",
            "\uff3bMeta\u2011reasoning",
            "\u202f\uff11\uff3d",
            "\u300c",
            "\u300d",
            "`",
            "__",
        ),
    ]
)
HOSTILE = st.one_of(
    st.lists(PIECES, max_size=15).map("".join),
    st.text(st.characters(exclude_categories=()), max_size=20),
)


@settings(max_examples=500, deadline=None)
@given(HOSTILE)
@example("<***[Answer 1]***|x|>")
@example("\u27e6Answer 1\u27e7 <\uff5c")
def test_nothing_that_commands_survives_neutralise(text: str) -> None:
    harmless = neutralise(text)
    assert not TAG.search(harmless)
    for forbidden in (*FENCES, "<|", "|>", "<\uff5c", "\uff5c>", "<s>", "</s>", "[INST]", "\0"):
        assert forbidden not in harmless
    harmless.encode("utf-8")  # raises on a lone surrogate


@settings(max_examples=500, deadline=None)
@given(HOSTILE)
def test_neutralise_twice_is_neutralise_once(text: str) -> None:
    assert neutralise(neutralise(text)) == neutralise(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("a b", "a b", id="equal"),
        pytest.param("  a\n\tb ", "a b", id="white space"),
        pytest.param("a\u00a0b\u3000", "a b", id="wide white space"),
        pytest.param("caf\u00e9", "cafe\u0301", id="NFC"),
        pytest.param("\u212b", "\u00c5", id="a sign that NFC unites"),
    ],
)
def test_same_text(one: str, other: str) -> None:
    assert same_text(one, other)
    assert same_text(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("x\u00b2", "x2", id="superscript"),
        pytest.param("\u2460", "1", id="circled"),
        pytest.param("\ufb01", "fi", id="ligature"),
        pytest.param("2\u00bd", "21/2", id="fraction"),
        pytest.param("M", "m", id="case"),
        pytest.param("a b", "ab", id="inner space"),
        pytest.param("a.", "a", id="full stop"),
    ],
)
def test_not_same_text(one: str, other: str) -> None:
    assert not same_text(one, other)


def test_the_superscript_pair_is_one_that_nfkc_would_unite() -> None:
    assert unicodedata.normalize("NFKC", "x\u00b2") == "x2"


@pytest.mark.parametrize(
    ("field", "teacher", "student", "verdict"),
    [
        ("meta_reasoning", "find x", " find  x\n", True),
        ("sub_problem", "what is x?", "what is x?", True),
        ("answer", "x = 4", "x = 4", True),
        ("meta_reasoning", "find x", "find y", None),
        ("answer", "4", "four", None),
        # without a letter or digit: a meta-reasoning or a sub-problem never matches
        ("meta_reasoning", "...", "...", False),
        ("sub_problem", "?", "?", False),
        ("meta_reasoning", "find x", "...", False),
        ("sub_problem", "?", "what is x?", False),
        # ... but an answer may
        ("answer", "\u2205", "\u2205", True),
        ("answer", "\u2205", "{}", None),
        # a letter or digit of any script is one
        ("meta_reasoning", "\u6c42\u89e3", "\u6c42\u89e3", True),
        ("sub_problem", "1 + 1", "1 + 1", True),
        # nothing matches an empty text, not even another one
        ("answer", "", "", False),
        ("answer", "4", " ", False),
        ("answer", "\n", "4", False),
        ("meta_reasoning", "", "", False),
    ],
)
def test_obvious_verdict(field: Field, teacher: str, student: str, verdict: bool | None) -> None:
    assert obvious_verdict(field, teacher, student) is verdict


@pytest.mark.parametrize(
    ("path", "has"),
    [
        ("so", True),
        ("7", True),
        ("\u56e0", True),
        ("...", False),
        ("", False),
        ("\n*** ---", False),
    ],
)
def test_has_reasoning(path: str, has: bool) -> None:
    assert has_reasoning(path) is has
