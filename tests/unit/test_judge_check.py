"""`rlkd judge-check`: the labelled pairs, the rates, and a judge behind a real server."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import FIELDS, RlkdError
from rlkd_plugin.gsrm.prompts import DOMAINS
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_eval.judge_calibration import (
    accuracy_at,
    best_threshold,
    mean_verdict,
    swap_effect,
)
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


@pytest.mark.parametrize(
    ("verdicts", "value", "accuracy"),
    [
        # 0.2 | 0.6 tell them apart: the middle of (0.2, 0.6]
        ([(False, 0.1), (False, 0.2), (True, 0.6), (True, 0.9)], 0.4, 1.0),
        # a judge that is shy of yes: (0.01, 0.05], not 0.5
        ([(False, 0.001), (False, 0.01), (True, 0.05), (True, 0.06)], 0.03, 1.0),
        # all match, or none does: yes to all or no to all is right, in the wider interval
        ([(True, 0.4), (True, 0.5)], 0.2, 1.0),
        ([(False, 0.3), (False, 0.4)], 0.7, 1.0),
        # reversed: 1 of 2 at best, yes or no to both; (0, 0.4] and (0.6, 1) are equally wide
        ([(True, 0.4), (False, 0.6)], 0.2, 0.5),
        # of (0.1, 0.3] and (0.4, 0.8], each with 3 of 4 right, the wider
        ([(False, 0.1), (True, 0.3), (False, 0.4), (True, 0.8)], 0.6, 0.75),
        # probabilities of 0 and 1 leave no threshold below or above them
        ([(False, 0.0), (True, 1.0)], 0.5, 1.0),
        ([(True, 0.0), (True, 1.0)], 0.5, 0.5),
        # equal probabilities are one edge
        ([(True, 0.5), (True, 0.5), (False, 0.5)], 0.2, 2 / 3),
        # without a probability a verdict is what it is: "no", right once and wrong once
        ([(False, None), (True, None), (True, 0.7), (False, 0.3)], 0.5, 0.75),
    ],
)
def test_the_best_threshold_is_the_middle_of_the_widest_best_interval(
    verdicts: list[tuple[bool, float | None]], value: float, accuracy: float
) -> None:
    pairs, said_of = of(*((right, False, p) for right, p in verdicts))
    found = best_threshold(pairs, said_of)
    assert found is not None
    assert (found.accuracy, found.value) == (accuracy, value)
    assert accuracy_at(pairs, said_of, found.value) == accuracy


def test_the_best_threshold_is_that_of_trying_all() -> None:
    """Against a plain search over a fine grid, and over every probability."""
    random = Random(7)
    for _ in range(200):
        made = [
            (random.random() < 0.5, False, round(random.random() ** 3, random.choice([1, 2, 9])))
            for _ in range(random.randrange(1, 30))
        ]
        pairs, verdicts = of(*made)
        found = best_threshold(pairs, verdicts)
        assert found is not None and 0 < found.value < 1
        tried = [p for _, _, p in made if 0 < p < 1] + [n / 1000 for n in range(1, 1000)]
        tried += [1e-12, 1 - 1e-12]
        best = max(accuracy_at(pairs, verdicts, threshold) for threshold in tried)
        assert found.accuracy == best == accuracy_at(pairs, verdicts, found.value)


def test_no_probability_has_no_threshold() -> None:
    assert best_threshold(*of((True, True, None))) is None


def test_the_effect_of_swapping_is_that_of_the_counts() -> None:
    pairs, one = of((True, True, 0.9), (True, False, 0.4), (False, True, 0.6), (False, False, 0.1))
    other = of((True, True, 0.7), (True, True, 0.8), (False, False, 0.2), (False, True, 0.7))[1]
    mean = [mean_verdict(a, b, 0.5) for a, b in zip(one, other, strict=True)]
    # means 0.8 yes, 0.6 yes, 0.4 no, 0.4 no
    assert [verdict.matched for verdict in mean] == [True, True, False, False]
    effect = swap_effect(pairs, one, other, mean)
    assert effect.changed == 3 / 4
    assert effect.mean_change == pytest.approx((0.2 + 0.4 + 0.4 + 0.6) / 4)
    assert (effect.one_way, effect.other_way, effect.both_ways) == (0.5, 0.75, 1.0)
    # wrong one way: two as they stand, one swapped; 1.5 a way, and none lost
    assert (effect.gained, effect.lost) == (1.5, 0)
    assert not effect.pays  # 1.5 < 2 * sqrt(1.5)


@pytest.mark.parametrize(
    ("gained", "lost", "pays"), [(4, 0, True), (3, 0, False), (20, 8, True), (20, 12, False)]
)
def test_asking_both_ways_pays_where_the_gain_is_clear(gained: int, lost: int, pays: bool) -> None:
    """16 >= 4 * 4, 9 < 4 * 3, 144 >= 4 * 28, 64 < 4 * 32."""
    wrong, right = (True, False, 0.4), (True, True, 0.6)
    pairs, one = of(*[wrong] * gained, *[right] * lost)
    mean = of(*[right] * gained, *[wrong] * lost)[1]
    assert swap_effect(pairs, one, one, mean).pays is pays


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
    with pytest.raises(
        RlkdError, match=r"pairs\.jsonl:2 is not a pair: .*pair looks like"
    ) as caught:
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


def shown(arguments: list[str]) -> str:
    """Run the command, and return the words that it prints."""
    done = CliRunner().invoke(app, ["judge-check", *arguments])
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


def biased(asked: Asked) -> object:
    """A judge that looks at the first text alone: 0.9 for a 4 in it, else 0.3."""
    if "⟦" not in asked.prompt:
        return said("yes")(asked)
    return verdict(0.9 if "4" in asked.texts[0] else 0.3)(asked)


BIASED = ["24|4 times 6|1", "4 m|5 m|0", "7 m|24|0", "8 s|9 s|0", "44|4 * 11|1"]


def pairs_file(folder: Path, rows: list[str]) -> str:
    """Write pairs: first, second and match, with bars between them."""
    lines = []
    for row in rows:
        first, second, match = row.split("|")
        pair = {"field": "answer", "first": first, "second": second, "match": match == "1"}
        lines.append(json.dumps(pair))
    return str(write(folder / "pairs.jsonl", *lines))


def test_the_command_shows_the_thresholds_and_the_effect_of_swapping(
    loopback: Loopback, options: SetOptions, tmp_path: Path
) -> None:
    options(judge_base_url=loopback.url, judge_model="judge-32b", judge_threshold=0.2)
    loopback.always("judge", biased)
    file = pairs_file(tmp_path, BIASED)
    words = shown([file])
    assert loopback.of("judge")[1:] and len(loopback.of("judge")) == 1 + 2 * 5
    # as they stand .9 .9 .3 .3 .9, and 1 0 0 0 1 is right: at 0.2 2 of 5, between 0.3 and 0.9 4
    assert (
        "threshold 80.0% right at 0.5 (the default) 40.0% right at 0.2 (RLKD_JUDGE_THRESH" in words
    )
    assert "80.0% right at 0.6 (the best on these pairs)" in words
    # swapped .9 .3 .9 .3 .9; at 0.2 no verdict is another, the probability of two changes by 0.6
    assert "swapped 0.0% of the verdicts change with the order" in words
    assert "the probability changes by 0.240 on average" in words
    assert "40.0% right as the pairs stand, 40.0% swapped, 40.0% by the mean of both" in words
    assert "RLKD_JUDGE_SWAP=true does not pay here" in words


def test_without_swapping_each_pair_is_asked_once(
    loopback: Loopback, options: SetOptions, tmp_path: Path
) -> None:
    options(judge_base_url=loopback.url, judge_model="judge-32b", judge_swap="true")
    loopback.always("judge", biased)
    words = shown([pairs_file(tmp_path, BIASED), "--no-swap"])
    assert len(loopback.of("judge")) == 1 + 5
    assert "80.0% right at 0.5 (RLKD_JUDGE_THRESHOLD, the default)" in words
    assert "swapped not asked; with RLKD_JUDGE_SWAP=true a run asks both ways" in words


def test_with_the_setting_each_way_is_measured_alone_and_the_table_is_of_the_mean(
    loopback: Loopback, options: SetOptions, tmp_path: Path
) -> None:
    """An engine that asked both ways itself would show no change, and ask four times."""
    options(judge_base_url=loopback.url, judge_model="judge-32b", judge_swap="true")
    options(judge_threshold=0.7)
    loopback.always("judge", biased)
    words = shown([pairs_file(tmp_path, BIASED), "--wrong", "0"]).replace("│", "")
    assert len(loopback.of("judge")) == 1 + 2 * 5
    # .9 .9 .3 .3 .9 and .9 .3 .9 .3 .9: means .9 .6 .6 .3 .9; at 0.7 all are right
    assert "answer 5 100.0% 0.0% 0.0% 0.0%" in " ".join(words.split())
    assert "swapped 40.0% of the verdicts change" in words
    assert "80.0% right as the pairs stand, 80.0% swapped, 100.0% by the mean of both" in words
    assert "it is set, and the table is of the mean" in words
    assert "100.0% right at 0.7 (RLKD_JUDGE_THRESHOLD)" in words


def test_a_judge_without_probabilities_has_no_threshold(
    loopback: Loopback, options: SetOptions, tmp_path: Path
) -> None:
    options(judge_base_url=loopback.url, judge_model="judge-32b")
    loopback.always("judge", said("yes"))
    words = shown([pairs_file(tmp_path, ["4|four|1"])])
    assert "no verdict has a probability: RLKD_JUDGE_THRESHOLD changes nothing" in words
