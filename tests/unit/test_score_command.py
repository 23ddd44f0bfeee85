"""`rlkd score` as a user gives it: over real HTTP, killed and resumed, and one pair of texts."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlkd_plugin.engines.trace import read_rows, replay
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_eval.report.sources import read_sources
from tests.conftest import SetOptions
from tests.support.loopback import GSRM, JUDGE, Loopback
from tests.support.row_lines import lines, write
from tests.support.waiting import LONG, default_signals, wait_for

ROOT = Path(__file__).resolve().parents[2]
TRACE = "rlkd_trace_rank0.jsonl"
TEACHER = "We add 3 + 4 = 7.\nWe take 7 - 2 = 5."
RIGHT = "<think>We add 3 + 4 = 7.\nWe take 7 - 2 = 5.</think>5"
OTHER_PLAN = "<think>We multiply 3 * 4 = 12.\nWe take 12 - 2 = 10.</think>10"
SHORT = "<think>We add 3 + 4 = 7.</think>7"


def score(*words: object, code: int = 0) -> str:
    """Give the command, and return all that it says."""
    done = CliRunner().invoke(app, ["score", *map(str, words)], env={"COLUMNS": "120"})
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def problem(number: int) -> dict[str, object]:
    """A row whose three completions earn 2, 0 and 1."""
    about = {"problem": f"What is it, {number}?", "teacher_reasoning": TEACHER}
    return {**about, "completions": [RIGHT, OTHER_PLAN, SHORT]}


def test_a_table_the_cost_and_lines_that_a_report_reads(servers: Loopback, tmp_path: Path) -> None:
    source, out = write(tmp_path / "rows.jsonl", problem(1)), tmp_path / "out"
    said = score(source, out, "--gsrm-price", "1000000,0", "--judge-price", "0,1000000")
    shown = re.sub(r"\s*[│┃]\s*", "|", said)
    assert "|3|completions|" in shown
    assert "|1.0000|mean reward, on the scale of the settings|" in shown  # (2 + 0 + 1) / 3
    assert "|50.0%|of the teacher's steps: the mean of r / n|" in shown
    assert "|75.0%|of the steps reached with a matched meta-reasoning|" in shown  # 2 + 0 of 1 + 1
    assert "3 rows read = 3 scored" in said
    assert f"written to {out / TRACE}" in said
    # three paths (the first student's is the teacher's), and what no text rule decides
    asked = Counter(one.role for one in servers.asked if "⟧" in one.prompt)
    assert asked["gsrm"] == 3
    assert "GSRM: 3 requests, 0 retries, 21 tokens in, 9 out, cost 21.00" in said
    judge = asked["judge"]
    assert f"judge: {judge} requests, 0 retries, {7 * judge} tokens in, {3 * judge} out" in said
    rows = list(read_rows(out / TRACE))
    assert [(one.completion, one.reward) for one in rows] == [
        (RIGHT, 2.0),
        (OTHER_PLAN, 0.0),
        (SHORT, 1.0),
    ]
    assert all(replay(one) for one in rows)
    (found,) = read_sources([out])
    assert found.traces is not None
    assert found.traces.rows == 3


def test_nothing_is_asked_again_when_all_is_done(servers: Loopback, tmp_path: Path) -> None:
    source, out = write(tmp_path / "rows.jsonl", problem(1)), tmp_path / "out"
    score(source, out)
    servers.asked.clear()
    assert "3 rows read = 3 done before" in score(source, out)
    assert [one for one in servers.asked if "⟧" in one.prompt] == []


def start(source: Path, out: Path, servers: Loopback, tmp_path: Path) -> "subprocess.Popen[str]":
    """Start the command in a process of its own."""
    env = {f"RLKD_{role}_BASE_URL": servers.url for role in ("GSRM", "JUDGE")}
    env |= {"RLKD_GSRM_MODEL": GSRM, "RLKD_JUDGE_MODEL": JUDGE, "RLKD_CONCURRENCY": "2"}
    return subprocess.Popen(
        [sys.executable, "-m", "rlkd_plugin.rlkd_cli", "score", str(source), str(out)],
        cwd=ROOT,
        env=os.environ | env | {"RLKD_CACHE_DIR": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_signals,
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_stop_in_the_middle_loses_no_line(
    number: int, code: int, loopback: Loopback, tmp_path: Path
) -> None:
    """Every path has a word of its own, so that a request says which completion it is of."""
    names = [f"mark{n}x" for n in range(40)]
    rows = [
        {
            "problem": f"What is it, {name}?",
            "teacher_reasoning": TEACHER,
            "completion": f"<think>We add {name} 3 + 4 = 7.</think>7",
        }
        for name in names
    ]
    source, out = write(tmp_path / "rows.jsonl", *rows), tmp_path / "out"
    loopback.delay, loopback.matches = 0.02, lambda one, other: True
    job = start(source, out, loopback, tmp_path)
    trace = out / TRACE
    wait_for(lambda: trace.exists() and len(trace.read_bytes().splitlines()) >= 8, "eight lines")
    job.send_signal(number)
    said, errors = job.communicate(timeout=LONG)
    assert job.returncode == code
    if number != signal.SIGKILL:
        assert "Traceback" not in errors
        assert "in work, for the next run" in said
        assert f"stopped; {trace} keeps what is done. Give the same command again to resume" in said
    whole = [line for line in trace.read_bytes().split(b"\n")[:-1] if line]
    done = {re.search("mark[0-9]+x", json.loads(line)["completion"])[0] for line in whole}  # type: ignore[index]
    assert len(done) == len(whole) < len(names)
    loopback.asked.clear()
    loopback.delay = 0
    said, errors = start(source, out, loopback, tmp_path).communicate(timeout=LONG)
    assert f"40 rows read = {40 - len(done)} scored + {len(done)} done before" in said
    assert [line["completion"] for line in lines(trace)] == [row["completion"] for row in rows]
    assert {line["reward"] for line in lines(trace)} == {1.0}
    again = {name for one in loopback.of("gsrm") for name in re.findall("mark[0-9]+x", one.prompt)}
    assert again == set(names) - done


def test_a_second_process_is_refused(servers: Loopback, tmp_path: Path) -> None:
    source, out = write(tmp_path / "rows.jsonl", problem(1)), tmp_path / "out"
    servers.delay = 0.3
    job = start(source, out, servers, tmp_path)
    wait_for(lambda: servers.of("gsrm"), "the first has asked")
    wait_for((out / f"{TRACE}.rlkd.json").exists, "the first has its record")
    said = score(source, out, code=1)
    assert f"another job writes {out / TRACE}" in said
    job.communicate(timeout=LONG)
    assert job.returncode == 0


def test_the_completions_of_the_demo_are_scored_as_the_run_did(
    options: SetOptions, tmp_path: Path
) -> None:
    """As ms-swift logs them, with the prompts of a chat template, and the last table twice."""
    options(engine="rules", reward_scale="teacher")
    stories = lines(ROOT / "rlkd_plugin" / "rlkd_data" / "samples" / "rlkd_demo_stories.jsonl")[:2]
    prompts = [f"<|im_start|>user\n{one['problem']}<|im_end|>\n" for one in stories]
    table = {
        "step": ["1", "1"],
        "prompt": prompts,
        "completion": [one["teacher_reasoning"] for one in stories],
    }
    source = write(tmp_path / "completions.jsonl", table, {**table, "advantages": [0.0, 0.0]})
    teachers = write(tmp_path / "stories.jsonl", *stories)
    said = score(source, tmp_path / "out", "--teachers", teachers)
    assert "4 rows read = 2 scored + 2 of tables that were written twice" in said
    assert "requests" not in said  # rules cost nothing
    rows = list(read_rows(tmp_path / "out" / TRACE))
    assert [(one.step, one.problem, one.reward) for one in rows] == [
        (0, stories[0]["problem"], 1.0),
        (0, stories[1]["problem"], 1.0),
    ]


def test_the_samples_of_an_evaluation_are_scored(options: SetOptions, tmp_path: Path) -> None:
    options(engine="rules")
    samples, reviews = tmp_path / "samples", tmp_path / "evalscope" / "gsm8k" / "reviews" / "model"
    samples.mkdir()
    reviews.mkdir(parents=True)
    asked = {"role": "user", "content": "What is 3 + 4 - 2?\nPut the answer in a box."}
    score_of = {"group_id": 7, "generation_index": 0}
    write(reviews / "main.jsonl", {"index": 7, "messages": [asked], "sample_score": score_of})
    about = {"problem": "main:7", "right": True, "target": "5", "answer": "5", "status": None}
    write(
        samples / "gsm8k.jsonl",
        {**about, "sample": 0, "stop": "stop", "response": RIGHT},
        {**about, "sample": 1, "stop": "max_tokens", "response": SHORT},
    )
    row = {"problem": "What is 3 + 4 - 2?", "teacher_reasoning": TEACHER}
    teachers = write(tmp_path / "teachers.jsonl", row)
    score(samples, tmp_path / "out", "--teachers", teachers)
    rows = list(read_rows(tmp_path / "out" / TRACE))
    assert [(one.problem, one.reward, one.cut_off) for one in rows] == [
        ("What is 3 + 4 - 2?", 2.0, False),
        ("What is 3 + 4 - 2?", 1.0, True),
    ]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "is empty: there is no completion to score"),
        ([{"problem": "P", "solution": "1"}], "has no completion in 1 rows"),
        (
            [{"problem": "P", "completion": "a"}],
            "no teacher to compare its completions with: give --teachers",
        ),
        ([problem(1), {"response": "a", "messages": []}], "has rows of two formats"),
    ],
)
def test_a_bad_source_ends_before_anything_is_asked(
    rows: list[dict[str, object]], words: str, servers: Loopback, tmp_path: Path
) -> None:
    source = write(tmp_path / "rows.jsonl", *rows)
    assert words in score(source, tmp_path / "out", code=1)
    assert servers.asked == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "give SRC and OUT, or one pair of texts"),
        (["rows.jsonl"], "give SRC and OUT, or one pair of texts"),
        (["rows.jsonl", "out", "--problem", "P"], "one pair of texts needs --problem, --teacher"),
        (["--problem", "P", "--teacher", "t.txt"], "one pair of texts needs --problem, --teacher"),
        (["--problem", " ", "--teacher", "t", "--student", "s"], "one pair of texts needs"),
        (
            ["--problem", "P", "--teacher", "t", "--student", "s", "--gsrm-price", "1,2"],
            "and no SRC, OUT, --teachers or prices",
        ),
        (["rows.jsonl", "out", "--domain", "code"], "the rows of SRC have their own domain"),
        (["absent.jsonl", "out"], "there is no file absent.jsonl"),
        (["rows.jsonl", "out", "--gsrm-price", "free"], "'free' is not a price"),
        (
            ["--problem", "P", "--teacher", "absent.txt", "--student", "absent.txt"],
            "there is no file absent.txt",
        ),
        (
            ["--problem", "P", "--teacher", "a", "--student", "a", "--domain", "law"],
            "--domain law is not one of math, science, code, puzzle",
        ),
    ],
)
def test_wrong_options_are_named(words: list[str], error: str, options: SetOptions) -> None:
    options(engine="rules")
    assert error in score(*words, code=1)


def test_one_pair_is_shown_step_by_step(servers: Loopback, tmp_path: Path) -> None:
    teacher, student, asked = (tmp_path / name for name in ("t.txt", "s.txt", "p.txt"))
    teacher.write_text(f"{TEACHER}\nWe double 5 * 2 = 10.")
    student.write_text("<think>We add 3 + 4 = 8.\nWe halve 8 / 2 = 4.\nWe stop at 4.</think>4")
    asked.write_text("What is it?\n")
    servers.matches = lambda one, other: "add" in one and "add" in other and "plan" in one
    said = score("--problem", asked, "--teacher", teacher, "--student", student)
    shown = re.sub(r"\s*[│┃]\s*", "|", said)
    first = "|1|plan|plan to We add 3 + 4 = 7.|plan to We add 3 + 4 = 8.|yes 0.90 (logprob)|0.25|"
    assert first in shown
    assert "||answer|7|8|no 0.10 (logprob)||" in shown
    assert "|2|plan|plan to We take 7 - 2 = 5.|plan to We halve 8 / 2 = 4.|no 0.10" in shown
    # behind the walk's end: whole structures, and no question
    assert "|3|plan|plan to We double 5 * 2 = 10.|plan to We stop at 4.|-|-|" in shown
    assert "step scores: 0.25 + 0 = 0.25" in said
    assert "reward: 0.25 in [0, 3], the paper's (steps)" in said
    assert "reward: 0.0833333 in [0, 1] (teacher)" in said
    assert "ended: the meta-reasoning of step 2 did not match" in said
    assert all("What is it?" in one.prompt for one in servers.of("gsrm") if "⟧" in one.prompt)


def test_a_pair_is_shown_letter_by_letter(servers: Loopback, tmp_path: Path) -> None:
    """No text without spaces is cut, none is read as an emoji, none reaches the terminal's own."""
    teacher, student = tmp_path / "t.txt", tmp_path / "s.txt"
    formula = "".join(f"\\frac{{{n}}}{{{n}}}+" for n in range(10, 40))
    teacher.write_text(f"We add :smile: [bold]{formula} = 7.\n")
    student.write_text("小明有三个苹果又买了四个然后吃掉两个最后还剩下几个苹果\x1b[2J。\n")
    said = score("--problem", "What is it?", "--teacher", teacher, "--student", student)
    assert "\x1b" not in said
    assert "…" not in said
    cells = [line.split("│")[1:-1] for line in said.splitlines() if line.startswith("│")]
    plans = cells[: next(n for n, cell in enumerate(cells) if cell[1].strip() == "question")]
    shown = ["".join(cell[place].strip() for cell in plans) for place in (2, 3)]
    assert shown[0].replace(" ", "") == f"plantoWeadd:smile:[bold]{formula}=7."
    assert "小明有三个苹果又买了四个然后吃掉两个最后还剩下几个苹果␛[2J。" in shown[1]


def test_a_pair_without_a_structure_says_so(options: SetOptions, tmp_path: Path) -> None:
    options(engine="rules", extra_steps="divide")
    teacher, student = tmp_path / "t.txt", tmp_path / "s.txt"
    teacher.write_text("We add 3 + 4 = 7.")
    student.write_text("...")
    words = ("--problem", "What is 3 + 4?", "--teacher", teacher, "--student", student)
    said = score(*words)
    assert "ended: the student's text has no structure" in said
    assert "reward: 0 in [0, 1], the paper's (steps)" in said
    student.write_text("We add 3 + 4 = 7. Then 7 * 2 = 14.")
    # one of two steps is more than the teacher has: n / m = 1 / 2
    assert "reward: 0.5 in [0, 1] (teacher)" in score(*words)
    teacher.write_text("")
    assert "is empty" in score(*words, code=1)
