"""`rlkd judge-check`: the labelled pairs, the rates, and a judge behind a real server."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import FIELDS, RlkdError
from rlkd_plugin.gsrm.prompts import DOMAINS
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_eval.judge_check import PAIRS, Pair, judge_pairs, rates, read_pairs
from tests.conftest import SetOptions
from tests.support.loopback import Asked, Loopback, said, status, verdict

SAMPLE = read_pairs(PAIRS)


def test_the_pairs_are_balanced_and_each_stands_once() -> None:
    counts = Counter((pair.domain, pair.field, pair.match) for pair in SAMPLE)
    assert set(counts) == {(d, f, m) for d in DOMAINS for f in FIELDS for m in (True, False)}
    assert set(counts.values()) == {26}  # 208 a field
    assert len({(pair.first, pair.second) for pair in SAMPLE}) == len(SAMPLE)
    assert all(pair.first.strip() != pair.second.strip() for pair in SAMPLE)


def test_words_in_common_do_not_tell_the_pairs_apart() -> None:
    """The rules engine goes by words, and is wrong about most of them."""
    found = asyncio.run(judge_pairs(SAMPLE, RulesEngine()))
    accuracy = rates(found.pairs, found.verdicts).accuracy
    assert accuracy is not None and accuracy < 0.4


def of(*verdicts: tuple[bool, bool, float | None]) -> tuple[list[Pair], list[Verdict]]:
    """Pairs and verdicts: what is right, what is said, and the probability of yes."""
    pairs = [Pair("math", "answer", "a", "b", right) for right, _, _ in verdicts]
    return pairs, [Verdict(yes, "logprob", probability) for _, yes, probability in verdicts]


def test_rates_are_those_of_the_counts() -> None:
    pairs, verdicts = of(
        (True, True, 0.9),
        (True, True, 0.8),
        (True, False, 0.3),
        (True, True, 0.6),
        (False, False, 0.1),
        (False, True, 0.7),
        (False, False, 0.3),
    )
    verdicts[-1] = Verdict(False, "refused")
    found = rates(pairs, verdicts)
    assert (found.pairs, found.accuracy) == (7, 5 / 7)
    assert (found.false_positive, found.false_negative) == (1 / 3, 1 / 4)
    assert found.unreadable == 1 / 7
    # of 4 x 2 pairs of probabilities: 0.9 and 0.8 above both, 0.3 and 0.6 above 0.1 alone
    assert found.auc == 6 / 8


def test_a_rate_of_nothing_is_none() -> None:
    found = rates(*of((True, True, None)))
    assert (found.false_positive, found.auc) == (None, None)


def write(file: Path, *lines: str) -> Path:
    """Write lines."""
    file.write_text("\n".join(lines) + "\n")
    return file


PAIR = '{"field": "answer", "first": "24", "second": "25", "match": false}'


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("no JSON", "broken JSON"),
        ("[]", "no JSON object"),
        ("{}", "missing required field `field`"),
        (PAIR.replace("false", "0"), "Expected `bool`, got `int` - at `$.match`"),
        (PAIR.replace('"25"', "25"), "Expected `str`, got `int` - at `$.second`"),
        (PAIR.replace("answer", "answers"), "'answers' - at `$.field`"),
    ],
)
def test_a_line_that_is_no_pair_is_named(line: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(RlkdError, match=r"pairs\.jsonl:2 is no pair: .*it looks like") as caught:
        read_pairs(write(tmp_path / "pairs.jsonl", PAIR, line))
    assert fault in str(caught.value)


def test_no_pairs_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RlkdError, match="has no pairs"):
        read_pairs(write(tmp_path / "pairs.jsonl"))
    with pytest.raises(RlkdError, match="there is no file"):
        read_pairs(tmp_path / "nothing")


def test_the_command_asks_a_judge_and_needs_no_gsrm(
    loopback: Loopback, options: SetOptions, tmp_path: Path
) -> None:
    """A judge that says yes where both texts have a 4; punctuation needs no judge."""
    options(judge_base_url=loopback.url, judge_model="judge-32b")
    pairs = [
        ("24", "4 * 6", True),
        ("4 m", "4 s", False),
        ("5", "five", True),
        ("7", "8", False),
        ("7", "...", False),
    ]
    lines = [
        json.dumps({"field": "answer", "first": a, "second": b, "match": m}) for a, b, m in pairs
    ]

    def judge(asked: Asked) -> object:
        if "⟦" not in asked.prompt:
            return said("yes")(asked)
        return verdict(0.9 if all("4" in text for text in asked.texts) else 0.2)(asked)

    loopback.always("judge", judge)
    file = write(tmp_path / "pairs.jsonl", *lines)
    done = CliRunner().invoke(app, ["judge-check", str(file), "--wrong", "5"])
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.replace("│", " ").split())
    assert "answer 5 60.0% 33.3% 50.0% 0.0%" in words
    assert "5 by logprob" in words and "says yes (0.90), answer: 4 m 4 s" in words
    assert "says no (0.20), answer: 5 five" in words
    loopback.always("judge", status(401))
    done = CliRunner().invoke(app, ["judge-check", str(file)])
    assert done.exit_code == 1 and "RLKD_JUDGE_API_KEY" in done.stderr
