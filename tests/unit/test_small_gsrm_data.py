"""The small GSRM's training data: goals, plans that give nothing away, and paths that mean what
their structures say.

On the project's own rows, and on GSM8K's where SOCRATIC names them.
"""

import json
import os
import random
import re
import subprocess
from argparse import Namespace
from fractions import Fraction
from pathlib import Path

import pytest

from examples.small_gsrm import judge_pairs, pairs, run
from examples.small_gsrm.goals import goal
from examples.small_gsrm.judge_pairs import label_pairs, training_row
from examples.small_gsrm.judge_texts import rephrase, twist
from examples.small_gsrm.measure_gsrm import PathStructures
from examples.small_gsrm.measure_judges import best_threshold
from examples.small_gsrm.other_words import reword
from examples.small_gsrm.pairs import pair
from examples.small_gsrm.paths import VARIANTS, ReasoningPath, path
from examples.small_gsrm.plans import WORDINGS, given_numbers, plan
from examples.small_gsrm.problems import (
    Problem,
    numbers,
    plain_number,
    problem,
    read_problems,
    to_digits,
    value_of,
)
from rlkd_plugin.gsrm import FIELDS, Step, Structure, parse_structure
from rlkd_plugin.gsrm.prompts import judge_prompt
from rlkd_plugin.gsrm.texts import obvious_verdict
from rlkd_plugin.rlkd_eval.judge_check import Pair
from tests.support.each import check_each

ROWS = [
    {
        "question": "Noor packs 6 crates with 14 lemons each. She keeps 9 lemons and sells the "
        "rest for $2 each. How much money does Noor get?",
        "answer": "How many lemons does Noor have? ** Noor packs 6*14 = <<6*14=84>>84 lemons.\n"
        "How many lemons does Noor sell? ** She sells 84-9 = <<84-9=75>>75 lemons.\n"
        "How much money does Noor get? ** That gives 75*2 = $<<75*2=150>>150.\n#### 150",
    },
    {
        "question": "A tank of 480 litres is 25% full. Then 30 litres are poured in. How many "
        "litres are in the tank?",
        "answer": "How many litres are in the tank at first? ** At first there are .25*480 = "
        "<<.25*480=120>>120 litres.\n"
        "How many litres are in the tank? ** Then there are 120 + 30 = <<120+30=150>>150.\n"
        "#### 150",
    },
    {
        "question": "Ilse runs 4 km on each of five days and 12 km on Sunday. How many km is that?",
        "answer": "How many km does Ilse run on the five days? ** 4*5=<<4*5=20>>20 km\n"
        "How many km does Ilse run in total? ** 20+12=<<20+12=32>>32 km\n#### 32",
    },
    {
        "question": "Bo has 40 stamps, gives away 8, and doubles what is left. How many has Bo?",
        "answer": "How many stamps does Bo have? ** 40-8=<<40-8=32>>32\n"
        "How many stamps does Bo have? ** 32*2=<<32*2=64>>64\n#### 64",
    },
]
OWN = [found for number, row in enumerate(ROWS) if (found := problem(number, row))]
SOURCE = Path(os.environ.get("SOCRATIC", "none"))
REAL = read_problems(SOURCE) if SOURCE.is_file() else ([], [])
PROBLEMS = {f"{n}, row {one.row}": one for n, one in enumerate([*OWN, *REAL[0], *REAL[1]])}


def known(found: ReasoningPath) -> list[str]:
    return [part.value for part in found.parts]


def test_all_own_rows_are_read() -> None:
    assert len(OWN) == len(ROWS)
    assert [len(p.parts) for p in OWN] == [3, 2, 2, 1]  # the last row's two lines ask the same
    assert OWN[3].parts[0].value == "64"


@pytest.mark.parametrize(
    "answer",
    [
        "Define a variable ** Let x be it\nHow many? ** x = <<3=3>>3\n#### 3",
        "How many? ** 3/4 = <<3/4=1>>1\n#### 1",  # wrong
        "How many? ** 2+2 = <<2+2=4>>4\n#### 5",  # another result
        "How many? ** 1+1=<<1+1=2>>2\nHow much? ** 2+1=<<2+1=3>>3\n"
        "How many? ** 3+1=<<3+1=4>>4\n#### 4",  # a question comes back
    ],
)
def test_a_row_without_plain_steps_is_left_out(answer: str) -> None:
    assert problem(0, {"question": "Q", "answer": answer}) is None


@pytest.mark.parametrize(
    ("question", "clause"),
    [
        ("How many eggs does Janet sell?", "how many eggs Janet sells"),
        ("How much did the house cost?", "how much the house cost"),
        ("How many carrots did Daisy buy?", "how many carrots Daisy bought"),
        ("How far was John from home?", "how far John was from home"),
        ("How many cars were in the lot?", "how many cars were in the lot"),
        ("How many groups are formed?", "how many groups are formed"),
        ("How much will the food cost?", "how much the food will cost"),
        ("What is the value of the house?", "the value of the house"),
        ("What percent of the cars are red?", "what percent of the cars are red"),
        ("How many students enrolled?", "how many students enrolled"),
        ("How many pens does each box carry?", "how many pens each box carries"),
        ("Simplify", 'the answer to "Simplify"'),
    ],
)
def test_goals(question: str, clause: str) -> None:
    assert goal(question) == clause


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16 - 3 - 4", Fraction(9)),
        ("2+3*4", Fraction(14)),
        ("(2+3)*4", Fraction(20)),
        ("20% * 50", Fraction(10)),
        ("7.50 x 2", Fraction(15)),
        ("1/2*70", Fraction(35)),
        ("-3+5", Fraction(2)),
        ("$1,200 ÷ 4", Fraction(300)),
        ("3/0", None),
        ("2(3)", None),
        ("2 +", None),
        ("__import__('os')", None),
    ],
)
def test_values_of_expressions(text: str, value: Fraction | None) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("text", "plain"), [("1,200", "1200"), ("15.00", "15"), (".5", "0.5"), ("0", "0")]
)
def test_plain_numbers(text: str, plain: str) -> None:
    assert plain_number(text) == plain


def test_written_values() -> None:
    assert [to_digits(Fraction(v)) for v in ("3", "1/4", "1/3")] == ["3", "0.25", None]


def test_given_numbers_are_read_from_digits_and_words() -> None:
    assert {"4", "5", "12"} <= given_numbers(ROWS[2]["question"])
    assert {"3", "12", "2"} <= given_numbers("Three boxes of a dozen each, and twice as many")


def test_no_plan_gives_its_own_answer_away_in_digits() -> None:
    def check(one: Problem) -> None:
        for place, part in enumerate(one.parts):
            for wording in range(WORDINGS):
                assert part.value not in numbers(plan(one, one.parts, place, wording))

    check_each(PROBLEMS, check)


def test_a_plan_says_what_for_and_how() -> None:
    first, second, last = (plan(OWN[0], OWN[0].parts, place) for place in range(3))
    assert first == (
        "Start with how many lemons Noor has, which is needed to know how many lemons Noor "
        "sells: multiply a value of the problem by another."
    )
    assert second.endswith("subtract a value of the problem from the last result.")
    assert "which answers the problem" in last


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_structure_says_what_its_path_says(variant: str) -> None:
    def check(one: Problem) -> None:
        row = pair(one, variant)
        found = path(one, variant, random.Random(f"0 {one.row} {variant}"))
        structure = parse_structure(row["structure"])
        assert [step.answer for step in structure.steps] == known(found)
        assert structure.final_answer == found.final == known(found)[-1]
        said = numbers(re.sub(r"[^\d.,]", " ", row["reasoning_path"]).replace(". ", " "))
        values = {value.removeprefix("-") for value in known(found)}
        assert values <= {plain_number(n.rstrip(".,")) for n in said}
        assert pair(one, variant) == row  # the same again
        for step in structure.steps:
            assert step.answer not in numbers(step.meta_reasoning)

    check_each(PROBLEMS, check)


@pytest.mark.parametrize("seed", range(8))
def test_wrong_paths_go_on_from_their_mistake(seed: int) -> None:
    kinds = set()
    for one in OWN[:3]:
        found = path(one, "wrong", random.Random(seed))
        kinds.add(found.mistake)
        assert found.parts != one.parts
        slips = 0
        for part in found.parts:
            for done in part.calculations:
                value = value_of(done.expression)
                assert value is not None
                slips += to_digits(value) != done.value
        assert slips == (found.mistake == "slip")  # all else follows from the mistake
    assert kinds <= {"slip", "misread", "operation", "dropped", "swapped"}


def test_all_kinds_of_mistakes_occur() -> None:
    found = {path(one, "wrong", random.Random(seed)).mistake for one in OWN for seed in range(40)}
    assert {"slip", "misread", "operation", "dropped", "swapped"} <= found


def test_thinking_paths_have_detours_that_are_no_steps() -> None:
    found = [path(OWN[0], "thinking", random.Random(seed)) for seed in range(40)]
    assert all(known(one) == ["84", "75", "150"] for one in found)
    detours = 0
    for one in found:
        given_up = re.findall(r"= ([\d.]+)(\? (?:No|That would not)|\. No, wait)", one.text)
        others = re.findall(r"= \$?([\d.]+\d|\d)", one.text)
        detours += len(given_up)
        wrong = [value for value in others if value not in ("84", "75", "150")]
        assert sorted(wrong) == sorted(v for v, _ in given_up if v not in ("84", "75", "150"))
    assert detours > 20


def test_labelled_pairs_are_balanced_and_need_a_judge() -> None:
    def check(one: Problem) -> None:
        made = list(label_pairs(one, FIELDS))
        for field in FIELDS:
            matches = [row["match"] for row in made if row["field"] == field]
            assert matches == [True, False] or (matches == [] and len(one.parts) < 3)
        for row in made:
            assert obvious_verdict(row["field"], row["first"], row["second"]) is None
            if row["field"] == "answer":
                one_value, other = (numbers(row[side]) for side in ("first", "second"))
                assert (one_value[-1] == other[-1]) == row["match"]

    check_each(PROBLEMS, check)


def pairs_of(field: str, match: bool) -> list[tuple[str, str]]:
    """The pairs of the longest own row, for many seeds; the row's own text first."""
    rows = [row for seed in range(60) for row in label_pairs(OWN[0], FIELDS, seed)]
    found = [row for row in rows if row["field"] == field and row["match"] == match]
    assert len(found) > 40
    return [(row["first"], row["second"]) for row in found]


GOALS = ("has", "sells", "gets")  # lemons; lemons; money
OPERATIONS = re.compile(r"\b(?:add|subtract|multiply|divide)\b", re.IGNORECASE)


def meaning(said: str) -> tuple[str, str]:
    """What a plan of the first own row wants, and by which operation."""
    how = OPERATIONS.findall(said)[0].lower()
    wanted = re.search(r"(?:with|[Ff]ind|know|gives) (how (?:many|much) [^:;,.]*)", said)[1]
    return re.sub(r"\b(?:Noor|she|he|they)\b| in total| altogether", "", wanted), how


def test_plans_match_if_goal_and_operation_do() -> None:
    for one, other in pairs_of("meta_reasoning", True):
        (goal_one, how_one), (goal_other, how_other) = meaning(one), meaning(other)
        assert how_one == how_other
        same = {re.sub(r"(had|has|sold|sells|got|gets)", "", g) for g in (goal_one, goal_other)}
        assert len(same) == 1
    for one, other in pairs_of("meta_reasoning", False):
        assert meaning(one) != meaning(other)


def test_questions_match_if_they_ask_the_same() -> None:
    verbs = re.compile(r"\b(ha(?:ve|s|d)|s(?:ell|ells|old)|g(?:et|ets|ot))\b")
    asked = {"ha": 0, "s": 1, "g": 2}

    def place(text: str) -> int:
        word = verbs.search(text.replace("has to be found", ""))[1]
        return next(number for start, number in asked.items() if word.startswith(start))

    for one, other in pairs_of("sub_problem", True):
        assert place(one) == place(other)


def test_the_wording_does_not_tell_the_label() -> None:
    """Of plans worded alike, and of sub-problems that are demands, about half match."""
    rows = [row for one in OWN[:3] for seed in range(200) for row in label_pairs(one, FIELDS, seed)]
    own = re.compile(r"(?:Start with|Next, find|Last, find|Find) ")
    demand = re.compile(r"Find |What has to be|We ask|Calculate |What is ")

    def share(field: str, form: re.Pattern[str], sides: int) -> float:
        some = [
            row["match"]
            for row in rows
            if row["field"] == field
            and sum(bool(form.match(row[side])) for side in ("first", "second")) == sides
        ]
        assert len(some) > 100
        return sum(some) / len(some)

    assert 0.35 < share("meta_reasoning", own, 2) < 0.65
    assert 0.35 < share("meta_reasoning", own, 1) < 0.65
    assert 0.35 < share("sub_problem", demand, 1) < 0.65
    assert 0.35 < share("sub_problem", demand, 0) < 0.65


def test_a_judges_row_is_the_prompt_that_it_is_served() -> None:
    row = {"field": "answer", "first": "3", "second": "3.0", "match": True}
    user, assistant = training_row(row)["messages"]
    assert user["content"] == judge_prompt("answer", "3", "3.0")
    assert assistant["content"] == "yes"


def test_questions_in_other_words_and_other_questions() -> None:
    question = "How many eggs does Janet sell in 5 days?"
    for seed in range(20):
        assert "eggs Janet sells in 5 days" in rephrase(question, random.Random(seed))
        assert twist(question, random.Random(seed)) not in (None, question)


def tagged(number: int) -> dict[str, str]:
    """A row whose number can be read off every text that is made from it."""
    return {
        "question": f"Crate{number} holds 6 rows of 14 lemons. 9 are bad; the others cost $2 each.",
        "answer": f"How many lemons does crate{number} hold? ** 6*14=<<6*14=84>>84\n"
        f"How many good lemons are in crate{number}? ** 84-9=<<84-9=75>>75\n"
        f"How much does crate{number} cost? ** 75*2=<<75*2=150>>150\n#### 150",
    }


def crates(file: Path) -> set[int]:
    """The rows that a file was made from."""
    return {int(number) for number in re.findall(r"[Cc]rate(\d+)", file.read_text("utf-8"))}


def test_what_is_trained_on_chosen_on_and_measured_on_is_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(tagged(n)) + "\n" for n in range(400)), "utf-8")
    for module, size in ((pairs, "--pairs"), (judge_pairs, "--problems")):
        monkeypatch.setattr("sys.argv", ["", str(source), str(tmp_path), size, "150"])
        module.main()
    found = {name: crates(tmp_path / f"{name}.jsonl") for name in FILES}
    assert len(found["train"]) == len(found["judge_train"]) == 150
    assert found["train"] | found["judge_train"] | found["judge_choose"] <= set(range(300))
    assert found["unseen"] == found["judge_unseen"] == set(range(300, 400))
    assert len(found["judge_choose"]) == 100
    assert not found["judge_choose"] & found["judge_train"]


FILES = ("train", "unseen", "judge_train", "judge_choose", "judge_unseen")


def test_too_few_problems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"question": "What is 2 + 2?", "answer": "It is 4.\\n#### 4"}\n', "utf-8")
    monkeypatch.setattr("sys.argv", ["", str(source), str(tmp_path), "--pairs", "3"])
    with pytest.raises(SystemExit, match=r"has 0 problems.*--pairs asks for 3.*Socratic"):
        pairs.main()


def test_a_finished_run_of_other_options_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("{}\n", "utf-8")
    out = tmp_path / "out"
    run.check_same(out, Namespace(source=source, out=out, pairs=3))
    run.check_same(out, Namespace(source=source, out=out, pairs=3))
    with pytest.raises(SystemExit, match="SMALL_OUT"):
        run.check_same(out, Namespace(source=source, out=out, pairs=4))
    source.write_text("{} \n", "utf-8")
    with pytest.raises(SystemExit, match="other options, rows or code"):
        run.check_same(out, Namespace(source=source, out=out, pairs=3))


@pytest.mark.parametrize("end", [1, 0])
def test_when_a_training_fails_the_other_ends(end: int, tmp_path: Path) -> None:
    """And where both are well it waits for both."""
    words = ([f"exit {end}"], ["sleep 60" if end else "sleep 0.1"])
    both = [subprocess.Popen(["bash", "-c", *w], start_new_session=True) for w in words]
    if end:
        with pytest.raises(SystemExit, match="a training has failed"):
            run.wait_for(both, tmp_path)
    else:
        run.wait_for(both, tmp_path)
    assert [training.returncode for training in both] == ([1, -15] if end else [0, 0])


@pytest.mark.parametrize("one", OWN)
def test_thoughts_in_other_words_keep_their_numbers(one: Problem) -> None:
    for seed in range(50):
        text = path(one, "thinking", random.Random(seed)).text
        other = reword(text)
        assert sorted(numbers(other)) == sorted(numbers(text))
        assert not re.search(r"Okay|Hmm|let me|Let me|makes sense|not needed|I want to", other)


def test_rows_behind_the_first_thousand_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(tagged(n)) + "\n" for n in range(1100)), "utf-8")
    train, unseen = read_problems(file)
    assert [p.row for p in train] == list(range(900))
    assert [p.row for p in unseen] == list(range(900, 1000))


@pytest.mark.skipif(not REAL[0], reason="SOCRATIC names no file of GSM8K's Socratic rows")
def test_real_rows_train_and_unseen_are_apart() -> None:
    train, unseen = REAL
    assert not {p.question for p in train} & {p.question for p in unseen}
    assert len(train) > 700 and len(unseen) > 75


def steps(*answers: str) -> Structure:
    return Structure(tuple(Step("Plan.", "What?", answer) for answer in answers), "1")


@pytest.mark.parametrize(
    ("found", "in_order"), [(("1", "2"), 2), (("1", "9", "2"), 2), (("2", "1"), 1), ((), 0)]
)
def test_answers_in_order_forgive_a_step_too_many(found: tuple[str, ...], in_order: int) -> None:
    given = steps(*found) if found else None
    assert PathStructures("plain", steps("1", "2"), given).answers_in_order == in_order


def test_the_best_threshold_lies_between_values_and_splits_no_tie() -> None:
    matches = [True, True, False, True, False]
    labelled_pairs = [Pair("", "answer", "a", "b", match) for match in matches]
    assert best_threshold(labelled_pairs, [0.9, 0.8, 0.6, 0.6, 0.1]) == pytest.approx(0.7)
    assert best_threshold(labelled_pairs, [0.5] * 5) == pytest.approx(-0.255)
