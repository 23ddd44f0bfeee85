"""How a judge's reply is read: by whole words and probabilities, or not at all."""

import math

import pytest

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.verdicts import read_verdict, yes_or_no

Token = tuple[str, tuple[tuple[str, float], ...]]


def tokens(**alternatives: float) -> Token:
    """Return the likeliest of some tokens, with the log-probabilities of all."""
    likeliest = max(alternatives, key=alternatives.__getitem__)
    return likeliest, tuple((token, math.log(p)) for token, p in alternatives.items())


def has_probability(verdict: Verdict | None, probability: float, *, matched: bool = True) -> bool:
    """Say whether a verdict comes from log-probabilities, and is this one."""
    assert verdict is not None
    assert (verdict.matched, verdict.source) == (matched, "logprob")
    return verdict.probability == pytest.approx(probability, abs=1e-5)


def spelled(*alternatives: tuple[str, float]) -> Reply:
    """Return a reply of one token, the first of these, with log-probabilities."""
    return Reply(alternatives[0][0], "length", ((alternatives[0][0], alternatives),))


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
        # marks around the answer
        ("<answer>yes</answer>", True),
        ("<answer>\nNo.\n</answer><|im_end|>", False),
        ("The answer is yes.</s>", True),
        # words that are denied, or say something else
        ("Not yes", None),
        ('not "no"', None),
        ("I would not say yes.", None),
        ("I don\u2019t think the answer is yes", None),
        ("That is not a no", None),
        ("They are not the same, so no", False),
        ("They don't have the same goal so the answer is no.", False),
        ("These cannot differ: yes!", True),
        ("No difference.", None),
        ("No doubt they match", None),
        ("Yes, there is no real difference.", True),
        # not whole words
        ("yesterday", None),
        ("nothing", None),
        ("not", None),
        ("know", None),
        ("yes_and", True),  # an underscore ends a word
        ("nö", None),
        ("no\u0308", None),  # the same, decomposed
        ("\u662f", None),
        ("Correct", None),
        ("Yes\uff0c\u5339\u914d", True),
        ("n o", None),
        ("да", None),
        # thinking without an end is no answer
        ("<think>yes", None),
        ("yes <think> no", None),
        ("yes</think>", None),
        ("[THINK]no[/THINK]yes", True),  # as other models mark it
        ("\u25c1think\u25b7no, no\u25c1/think\u25b7yes", True),
        ("[THINK]yes", None),
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
    assert yes_or_no("it is not " * 100_000 + ". " * 100_000 + "yes") is True
    assert yes_or_no("<answer> <|" * 100_000 + "so yes") is True
    assert yes_or_no("no " + "very " * 200_000) is False


@pytest.mark.parametrize(
    ("alternatives", "probability"),
    [
        ({"yes": 0.8, "no": 0.2}, 0.8),
        ({"yes": 0.2, "no": 0.6, "maybe": 0.2}, 0.25),  # 0.2 of 0.8
        ({"Yes": 0.3, " yes": 0.2, "YES": 0.1, "no": 0.2}, 0.75),  # 0.6 of 0.8
        ({"yes": 1.0}, 1.0),
        ({"No": 1.0}, 0.0),
        ({"\u0120yes": 0.5, "\u2581no": 0.5}, 0.5),  # how tokenizers show a space
        ({"yesterday": 0.3, "yes": 0.3, "nothing": 0.1, "no": 0.1}, 0.75),  # 0.3 of 0.4
        ({'"': 0.4, "yes": 0.45, "no": 0.05}, 0.9),  # 0.45 of 0.5
        ({"yes": 0.12, "The": 0.11, "no": 0.04}, 0.75),  # a judge that is not sure of the form
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
    verdict = read_verdict(spelled(("no", math.log(0.4)), ("yes", math.log(0.6))), threshold)
    assert verdict is not None and verdict.matched is matched


@pytest.mark.parametrize(
    "alternatives",
    [
        [],
        [("Well", 0.0)],
        [("Well", 0.0), ("yes", -9999.0), ("no", -9999.0)],
        [("Well", 0.0), ("yes", -8.0)],
        [("Well", 0.0), ("yes", -math.inf), ("no", -math.inf)],
        [("Correct", -0.03), ("No", -5.8)],
        [("\u662f", -0.01), ("No", -6.2), ("Yes", -7.9)],
        [("\u5426", -0.01), ("Yes", -6.2), ("No", -7.9)],
        [("**", math.log(0.9)), ("yes", math.log(0.06)), ("no", math.log(0.03))],
        # not a tail, but less than what the judge says
        [("Correct", math.log(0.6)), ("No", math.log(0.3)), ("Yes", math.log(0.05))],
        # the token that was generated may hold all that is not listed
        [("No", math.log(0.3)), ("Yes", math.log(0.05))],
    ],
)
def test_a_token_without_yes_and_no_is_no_answer(alternatives: list[tuple[str, float]]) -> None:
    """A tail is no verdict, however lopsided it is."""
    assert read_verdict(Reply("Well", None, (("Well", alternatives),)), 0.5) is None


def test_spellings_that_decode_alike_are_summed() -> None:
    """Two token ids of one string, and the last of the list does not win."""
    verdict = read_verdict(spelled(("yes", -0.05), ("no", -3.2), ("yes", -8.1)), 0.5)
    # e^-0.05 + e^-8.1 = 0.95153; e^-3.2 = 0.04076; 0.95153 / 0.99229
    assert has_probability(verdict, 0.95892)


@pytest.mark.parametrize(
    "token",
    [
        *("Yes!", "(Yes", "`yes", "`yes`", "**Yes**", '"Yes"', "yes.", "[yes]", "<yes>", "_yes_"),
        *(
            "Yes\uff0c",
            "\u201cYES\u201d",
            "\u300cyes\u300d",
            "\u2705 Yes",
            "yes\u2026",
            "$yes",
            "- yes",
        ),
        *(
            "\u2581Yes",
            "\u0120Yes",
            "\u010aYes",
            "<0x0A>Yes",
            "\u00a0yes\u3000",
            "\ufeffyes",
            "\u200byes",
        ),
    ],
)
def test_punctuation_of_any_kind_is_no_part_of_a_word(token: str) -> None:
    """Of the word that was generated, and of its alternatives."""
    verdict = read_verdict(spelled((token, math.log(0.6)), ("No", math.log(0.2))), 0.5)
    assert has_probability(verdict, 0.75)
    verdict = read_verdict(spelled(("No", math.log(0.6)), (token, math.log(0.2))), 0.5)
    assert has_probability(verdict, 0.25, matched=False)


@pytest.mark.parametrize(
    "token", ["yes2", "yesyes", "eyes", "yes\u0301", "ye", "y", "yes/no", "noyes"]
)
def test_a_word_inside_a_longer_one_is_no_word(token: str) -> None:
    """Its probability counts for neither."""
    verdict = read_verdict(spelled(("no", math.log(0.6)), (token, math.log(0.4))), 0.5)
    assert verdict == Verdict(False, "logprob", 0.0)


def test_a_word_that_was_said_is_not_outvoted_by_a_tail() -> None:
    """Its own log-probability is missing, and the other word's is small, or all that is listed."""
    tail = Reply("Yes!", "length", (("Yes!", (("No", -5.0),)),))
    assert read_verdict(tail, 0.5) == Verdict(True, "text")
    alone = Reply("Yes!", "length", (("Yes!", (("No", -0.9),)),))
    assert read_verdict(alone, 0.5) == Verdict(True, "text")


def test_the_generated_token_alone_is_a_word_and_no_certainty() -> None:
    """A server that lists no alternatives does not say how likely the other word is."""
    assert read_verdict(spelled(("yes", math.log(0.6))), 0.5) == Verdict(True, "text")
    assert read_verdict(spelled(("no", math.log(0.6))), 0.5) == Verdict(False, "text")
    sure = read_verdict(spelled(("yes", math.log(0.99))), 0.5)
    assert sure == Verdict(True, "logprob", 1.0)


def test_a_word_without_alternatives_counts_as_a_word() -> None:
    """Some servers give the token and nothing beside it."""
    assert read_verdict(Reply("yes", None, (("yes", ()),)), 0.5) == Verdict(True, "text")


@pytest.mark.parametrize(("constrained", "source"), [(False, "text"), (True, "choice")])
def test_the_source_says_how_it_was_read(constrained: bool, source: str) -> None:
    """A word counts the same, whether it was chosen or free."""
    verdict = read_verdict(Reply("No."), 0.5, constrained)
    assert verdict is not None
    assert (verdict.matched, verdict.source, verdict.probability) == (False, source, None)


def test_the_last_token_that_answers_counts() -> None:
    """After thinking it is the answer's probability, not that of a word on the way."""
    on_the_way, answer = tokens(yes=0.99, no=0.01), tokens(yes=0.6, no=0.4)
    reply = Reply("<think>yes</think>yes.", None, (on_the_way, tokens(x=1.0), answer, (".", ())))
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
    pieces = (tokens(yes=0.6, no=0.4), ("</think>", ()), tokens(Y=1.0), tokens(es=1.0))
    assert read_verdict(Reply("yes</think>Yes", None, pieces), 0.9) == Verdict(True, "text")
    # a reasoning parser delivers the thinking apart, and its tokens all the same
    apart = Reply("Yes", "stop", (*pieces[:1], *pieces[2:]), thinking="yes")
    assert read_verdict(apart, 0.9) == Verdict(True, "text")


@pytest.mark.parametrize(
    ("pieces", "probability"),
    [
        (["Yes", ",", " so", " yes", "."], 0.6),  # the first word answers, the last repeats it
        (["yes", "\n", "yes"], 0.6),
        (["Is", " it", " yes", "?", " So", ":", " yes"], 0.9),
        (["**", "Yes", "**", "<|im_end|>"], 0.6),
        (["\u2581Yes", ".", "</s>"], 0.6),
    ],
)
def test_the_word_that_answers_gives_the_probability(pieces: list[str], probability: float) -> None:
    """The first where the reply begins with it, else the last; marks of the end count for none."""
    shares = iter((0.6, 0.9))
    read = tuple(
        (piece, ((piece, math.log(p := next(shares))), ("no", math.log(1 - p))))
        if "yes" in piece.lower()
        else (piece, ())
        for piece in pieces
    )
    text = "".join(pieces).replace("\u2581", " ")
    text = text.removesuffix("<|im_end|>").removesuffix("</s>")
    assert has_probability(read_verdict(Reply(text, "stop", read), 0.5), probability)


def test_an_answer_that_a_reasoning_parser_took_is_read() -> None:
    """By its token, or as the one word with which the model ended."""
    one = (tokens(yes=0.8, no=0.2),)
    assert has_probability(read_verdict(Reply("", "length", one, "yes"), 0.5), 0.8)
    assert read_verdict(Reply("", "stop", (), " No.\n"), 0.5) == Verdict(False, "text")
    assert read_verdict(Reply(" ", "stop", (), "yes"), 0.5, True) == Verdict(True, "choice")


@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS", "max_tokens"])
def test_thinking_that_was_cut_is_no_answer(reason: str) -> None:
    """Though it begins with a yes, or is one so far."""
    assert read_verdict(Reply("", reason, (), "yes"), 0.5) is None
    assert read_verdict(Reply("", reason, (tokens(Okay=0.99, no=0.01),), "Okay"), 0.5) is None
    thinking = (tokens(No=1.0), (",", ()), (" but", ()))
    assert read_verdict(Reply("", reason, thinking, "No, but"), 0.5) is None


def test_thinking_of_several_words_is_no_answer() -> None:
    """It may end with any word."""
    assert read_verdict(Reply("", "stop", (), "The plans differ, so no"), 0.5) is None
