"""How a judge's reply is read: by whole words and probabilities, or not at all."""

import math

import pytest

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.verdicts import read_verdict, yes_or_no


def tokens(**alternatives: float) -> tuple[str, dict[str, float]]:
    """Return the likeliest of some tokens, with the log-probabilities of all."""
    likeliest = max(alternatives, key=alternatives.__getitem__)
    return likeliest, {token: math.log(p) for token, p in alternatives.items()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yes", True),
        ("no", False),
        ("Yes.", True),
        ("NO!", False),
        ("  **Yes**\n", True),
        ('"yes"', True),
        ("Yes, both count the bottles.", True),
        ("No: the goals differ.", False),
        ("The answer is yes", True),
        ("Answer: no.", False),
        ("yes yes", True),
        ("yes\nyes\nyes", True),
        ("Yes2", True),  # a digit ends a word
        ("<think>no, no, no</think>yes", True),
        ("It says yes.</think> No", False),
        ("<think>a</think>no<think>b</think>yes", True),
        # nothing, or both
        ("", None),
        (" \n\t", None),
        ("yes and no", None),
        ("Yes. No, wait.", None),
        ("no, yes", None),
        ("I say yes to that", None),  # neither the first nor the last word
        ("maybe", None),
        # not whole words
        ("yesterday", None),
        ("nothing", None),
        ("not", None),
        ("know", None),
        ("yes_and", True),  # an underscore ends a word
        ("nö", None),
        ("n o", None),
        ("да", None),
        # thinking without an end is no answer
        ("<think>yes", None),
        ("yes <think> no", None),
        ("yes</think>", None),
        ("<think></think>", None),
    ],
)
def test_a_text_says_yes_or_no_by_whole_words(text: str, said: bool | None) -> None:
    """The first or last word after any thinking, if the other of the two is not there."""
    assert yes_or_no(text) is said


def test_a_long_reply_is_read_quickly() -> None:
    """A judge that babbles costs no time worth speaking of."""
    assert yes_or_no("no " * 300_000 + "yes") is None
    assert yes_or_no("<think>" * 100_000 + "</think>" * 100_000 + "yes") is True


@pytest.mark.parametrize(
    ("alternatives", "probability"),
    [
        ({"yes": 0.8, "no": 0.2}, 0.8),
        ({"yes": 0.2, "no": 0.6, "maybe": 0.2}, 0.25),  # 0.2 of 0.8
        ({"Yes": 0.3, " yes": 0.2, "YES": 0.1, "no": 0.2}, 0.75),  # 0.6 of 0.8
        ({"yes": 1.0}, 1.0),
        ({"No": 1.0}, 0.0),
        ({"\u0120yes": 0.5, "\u2581no": 0.5}, 0.5),  # how tokenizers show a space
        ({"**": 0.9, "yes": 0.03, "no": 0.01}, 0.75),  # another token came, but we know
        ({"yesterday": 0.5, "yes": 0.3, "nothing": 0.1, "no": 0.1}, 0.75),  # 0.3 of 0.4
    ],
)
def test_one_token_gives_the_probability_of_yes(
    alternatives: dict[str, float], probability: float
) -> None:
    """The masses of all spellings of yes against those of no."""
    token = tokens(**alternatives)
    verdict = read_verdict(Reply(token[0], "length", (token,)), threshold=0.5)
    assert verdict is not None
    assert verdict.source == "logprob"
    assert verdict.probability == pytest.approx(probability)
    assert verdict.matched is (probability >= 0.5)


@pytest.mark.parametrize(
    ("threshold", "matched"), [(0.05, True), (0.6, True), (0.61, False), (0.95, False)]
)
def test_the_threshold_decides(threshold: float, matched: bool) -> None:
    """Whatever the generated word was."""
    verdict = read_verdict(
        Reply("no", None, (("no", {"yes": math.log(0.6), "no": math.log(0.4)}),)), threshold
    )
    assert verdict is not None and verdict.matched is matched


@pytest.mark.parametrize(
    "alternatives",
    [
        {},
        {"Well": 0.0},
        {"Well": 0.0, "yes": -9999.0, "no": -9999.0},
        {"Well": 0.0, "yes": -8.0},  # less than 0.1% together
        {"Well": 0.0, "yes": -math.inf, "no": -math.inf},
        {"Well": 0.0, "yes": math.nan},
    ],
)
def test_a_token_without_yes_and_no_is_no_answer(alternatives: dict[str, float]) -> None:
    """Next to no mass is no verdict, and neither is a number that is none."""
    assert read_verdict(Reply("Well", None, (("Well", alternatives),)), 0.5) is None


def test_a_word_without_alternatives_counts_as_a_word() -> None:
    """Some servers give the token and nothing beside it."""
    assert read_verdict(Reply("yes", None, (("yes", {}),)), 0.5) == Verdict(True, "text")


@pytest.mark.parametrize(("constrained", "source"), [(False, "text"), (True, "choice")])
def test_the_source_says_how_it_was_read(constrained: bool, source: str) -> None:
    """A word counts the same, whether it was chosen or free."""
    verdict = read_verdict(Reply("No."), 0.5, constrained)
    assert verdict is not None
    assert (verdict.matched, verdict.source, verdict.probability) == (False, source, None)


def test_the_last_token_that_answers_counts() -> None:
    """After thinking it is the answer's probability, not that of a word on the way."""
    on_the_way, answer = tokens(yes=0.99, no=0.01), tokens(yes=0.6, no=0.4)
    reply = Reply("<think>yes</think>yes.", None, (on_the_way, tokens(x=1.0), answer, (".", {})))
    verdict = read_verdict(reply, 0.7)
    assert verdict is not None
    assert (verdict.matched, verdict.probability) == (False, pytest.approx(0.6))


def test_thinking_that_does_not_end_is_no_answer() -> None:
    """Though its tokens have a yes among them."""
    reply = Reply("<think>yes or", "length", (tokens(x=1.0), tokens(yes=1.0), tokens(y=1.0)))
    assert read_verdict(reply, 0.5) is None


def test_a_text_that_contradicts_itself_is_no_answer() -> None:
    """Not even with sure tokens."""
    reply = Reply("yes and no", None, (tokens(yes=1.0), tokens(x=1.0), tokens(no=1.0)))
    assert read_verdict(reply, 0.5) is None


def test_a_word_in_the_thinking_is_not_the_answers_probability() -> None:
    """Where the answer is cut into pieces, it is read as a word."""
    reply = Reply("no</think>Yes", None, (tokens(no=1.0), tokens(Y=1.0), tokens(es=1.0)))
    assert read_verdict(reply, 0.5) == Verdict(True, "text")
