"""`rlkd eval` through evalscope itself, against a scripted server."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlkd_plugin.rlkd_cli import app
from tests.support.plain_server import plain_server
from tests.support.swift_run import rows

MATH = [
    {
        "problem": f"What is {n} + {n}?",
        "answer": str(2 * n),
        "solution": "Add.",
        "level": 1,
        "unique_id": f"t/{n}",
        "subject": "Algebra",
    }
    for n in range(1, 4)
]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Take evalscope's handlers away again; they write to a stream that is closed then."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers, root.level = before


def write(file: Path, made: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in made))
    return file


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["eval", *words], env={"COLUMNS": "200"})
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def numbered(texts: dict[str, list[str]]) -> Any:
    """Reply to each problem with its texts in turn."""
    turn: dict[str, int] = {}

    def reply(body: dict[str, Any]) -> str:
        prompt = body["messages"][-1]["content"]
        name = next(name for name in texts if name in prompt)
        turn[name] = turn.get(name, -1) + 1
        return texts[name][turn[name]]

    return reply


REPLIES = {
    "1 + 1": ["\\boxed{2}", "\\boxed{3}"],
    # an answer in the draft is none, if another one is given
    "2 + 2": ["<think>\\boxed{4}</think>\\boxed{5}", "<think>\\boxed{5}</think> It is \\boxed{4}."],
    "3 + 3": ["no idea", "\\boxed{7}"],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of an evaluation of three problems with two samples each, and its requests."""
    folder = tmp_path_factory.mktemp("finished")
    data = write(folder / "math.jsonl", MATH)
    with plain_server(numbered(REPLIES)) as (url, asked):
        options = ["--url", url, "--sets", "math500", "--data", f"math500={data}"]
        options += ["--samples", "math500=2", "--concurrency", "1", "--label", "scripted"]
        output = run(str(folder / "out"), *options)
    assert "scripted" in output
    return folder, asked


@pytest.fixture
def evaluated(
    finished: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> tuple[Path, list[dict[str, Any]]]:
    """A copy of the finished evaluation, to change, and the requests for it."""
    folder, asked = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "out", asked


def test_scores_samples_and_requests(evaluated: tuple[Path, list[dict[str, Any]]]) -> None:
    out, asked = evaluated
    assert len(asked) == 6
    for body in asked:
        assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.6, 0.95, 32768)
        assert "seed" not in body  # else all responses to a problem would be the same
    scores = json.loads((out / "eval.json").read_text())["sets"]["math500"]
    # right: the first of problem 1, the second of problem 2
    assert (scores["problems"], scores["samples"]) == (3, 2)
    assert scores["pass_at_1"]["value"] == pytest.approx(1 / 3)
    assert scores["pass_at_1_of_runs"]["1"] == pytest.approx(1 / 3)
    assert scores["pass_at_k"]["2"]["any"] == pytest.approx(2 / 3)
    assert scores["pass_at_k"]["2"]["unbiased"] == pytest.approx(2 / 3)
    samples = rows(out / "samples" / "math500.jsonl")
    assert [row["right"] for row in samples] == [True, False, False, True, False, False]
    assert samples[3]["response"] == "<think>\\boxed{5}</think>\nIt is \\boxed{4}."


def test_it_is_scored_again_without_a_request(
    evaluated: tuple[Path, list[dict[str, Any]]],
) -> None:
    """From the responses that are there; samples and scores come out the same."""
    out, _ = evaluated
    before = (out / "samples" / "math500.jsonl").read_bytes()
    (out / "samples" / "math500.jsonl").unlink()
    (out / "eval.json").unlink()
    run(str(out), "--rescore")
    assert (out / "samples" / "math500.jsonl").read_bytes() == before
    assert (out / "eval.json").is_file()


def test_another_evaluation_in_the_same_folder_is_refused(
    evaluated: tuple[Path, list[dict[str, Any]]],
) -> None:
    out, _ = evaluated
    said = run(str(out), "--url", "http://127.0.0.1:9/v1", "--temperature", "1", code=1)
    assert "temperature: 0.6 there, 1.0 now" in said


def test_what_was_drawn_is_not_drawn_again(tmp_path: Path) -> None:
    """Of what a kill left four responses are whole; the server that comes back has a new port."""
    data = write(tmp_path / "math.jsonl", MATH)
    options = ["--sets", "math500", "--data", f"math500={data}", "--samples", "math500=2"]
    options += ["--concurrency", "1", "--label", "x", "--served", "m"]
    with plain_server(lambda body: "\u2028\\boxed{2}\u0085") as (url, asked):
        out = tmp_path / "out"
        run(str(out), "--url", url, *options)
        file = next((out / "evalscope" / "math500" / "predictions").rglob("*.jsonl"))
        lines = file.read_bytes().split(b"\n")
        file.write_bytes(b"\n".join([*lines[:4], lines[4][:30]]))  # as a kill leaves it
        next((out / "evalscope" / "math500" / "reviews").rglob("*.jsonl")).unlink()
        run(str(out), "--url", url, *options)
        assert len(asked) == 6 + 2
    assert len(rows(out / "samples" / "math500.jsonl")) == 6


def test_scoring_again_needs_all_responses(evaluated: tuple[Path, list[dict[str, Any]]]) -> None:
    out, _ = evaluated
    file = next((out / "evalscope" / "math500" / "predictions").rglob("*.jsonl"))
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:4]))
    said = run(str(out), "--rescore", code=1)
    assert "responses of math500 are missing: run without --rescore" in said


def test_a_server_that_refuses_us_ends_it_with_its_words(tmp_path: Path) -> None:
    data = write(tmp_path / "math.jsonl", MATH[:1])
    with plain_server(lambda body: "", refuse="there is no such model") as (url, _):
        options = ["--sets", "math500", "--data", f"math500={data}", "--samples", "math500=1"]
        said = run(str(tmp_path / "out"), "--url", url, *options, code=1)
    assert "there is no such model" in said and "run the same command again" in said


def test_other_problems_in_the_same_folder_are_refused(
    evaluated: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """Responses are told by their place: they would be scored by other answers."""
    out, _ = evaluated
    before = json.loads((out / "plan.json").read_text())
    data = write(tmp_path / "math.jsonl", [*MATH[1:], MATH[0]])
    options = ["--sets", "math500", "--data", f"math500={data}", "--samples", "math500=2"]
    url = before["subject"]["model"].partition(" at ")[2]
    said = run(str(out), *options, "--label", "scripted", "--url", url, code=1)
    assert "is another job's (problems: " in said


def test_a_server_without_room_for_a_response_is_named(tmp_path: Path) -> None:
    """evalscope takes its refusal for a response."""
    words = "This model's maximum context length is 4096 tokens. However, you requested 32768"
    data = write(tmp_path / "math.jsonl", MATH)
    with plain_server(lambda body: "", refuse=words) as (url, _):
        options = ["--sets", "math500", "--data", f"math500={data}", "--samples", "math500=2"]
        said = run(str(tmp_path / "out"), "--url", url, *options, code=1)
    assert "the server rejected 6 of 6 requests" in said


def test_an_answer_in_a_draft_that_was_cut_off_is_none(tmp_path: Path) -> None:
    data = write(tmp_path / "math.jsonl", MATH[:1])
    with plain_server(lambda body: "<think> \\boxed{2} but wait", finish="length") as (url, _):
        options = ["--sets", "math500", "--data", f"math500={data}", "--samples", "math500=2"]
        run(str(tmp_path / "out"), "--url", url, *options)
    scores = json.loads((tmp_path / "out" / "eval.json").read_text())["sets"]["math500"]
    assert (scores["pass_at_1"]["value"], scores["cut_off"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--sets", "aime25", "--url", "http://x/v1"], "there is no test set 'aime25'"),
        (["--sets", "math500"], "name a --model to serve, or the --url"),
        (["--samples", "math500", "--url", "http://x/v1"], "--samples math500: give SET=VALUE"),
        (
            ["--sets", "math500", "--data", "aime24=x", "--url", "http://x/v1"],
            "--data names aime24",
        ),
        (["--rescore"], "has no evaluation"),
        (["--sets", "math500", "--url", "http://a:b@x/v1"], "--url must not hold a key"),
        (["--sets", "math500", "--url", "http://x/v1?key=k"], "--url must not hold a key"),
        (["--sets", "math500", "--url", "http://x/v1#k"], "--url must not hold a key"),
        (["--sets", "math500", "--url", "http://x/v1", "--key-env", "NONE"], "no such variable"),
        (
            ["--sets", "math500", "--url", "http://x/v1", "--limit", "-1"],
            "--limit must be 0 or more",
        ),
        (
            ["--sets", "math500", "--url", "http://x/v1", "--samples", "math500=0"],
            "--samples 1 or more",
        ),
    ],
)
def test_what_cannot_be_is_said(options: list[str], says: str, tmp_path: Path) -> None:
    assert says in run(str(tmp_path / "out"), *options, code=1)


def test_a_row_without_a_needed_column_is_named(tmp_path: Path) -> None:
    data = write(tmp_path / "math.jsonl", [{"problem": "1 + 1?"}])
    options = ["--url", "http://x/v1", "--sets", "math500", "--data", f"math500={data}"]
    said = run(str(tmp_path / "out"), *options, code=1)
    assert "math.jsonl:1: a problem of MATH-500 needs answer, level" in said


COPIES: dict[str, dict[str, Any]] = {
    "aime24": {"id": 60, "problem": "What is 3 + 4?", "answer": "7", "solution": "7", "url": "x"},
    "math500": MATH[0],
    "gpqa_diamond": {
        "Question": "Which is a noble gas?",
        "Correct Answer": "Neon",
        **{f"Incorrect Answer {n}": f"Nothing {n}" for n in (1, 2, 3)},
    },
    "gsm8k": {"question": "Two and three?", "answer": "2 + 3 = <<2+3=5>>5\n#### 5"},
}


def solved(body: dict[str, Any]) -> str:
    """Answer as each set's prompt asks for it."""
    prompt = body["messages"][-1]["content"]
    if "noble gas" in prompt:
        letter = next(line for line in prompt.splitlines() if line.endswith("Neon"))[0]
        return f"Neon is one.\nANSWER: {letter}"
    answers = {"3 + 4": 7, "1 + 1": 2, "Two and three": 5}
    return f"It is \\boxed{{{next(a for text, a in answers.items() if text in prompt)}}}."


@pytest.mark.parametrize("name", COPIES)
def test_each_set_is_read_from_a_local_copy_and_scored(name: str, tmp_path: Path) -> None:
    """In the shape of its hub; a system prompt goes with every request."""
    data = write(tmp_path / "rows.jsonl", [COPIES[name], COPIES[name]])
    with plain_server(solved) as (url, asked):
        options = ["--url", url, "--sets", name, "--data", f"{name}={data}", "--limit", "1"]
        run(str(tmp_path / "out"), *options, "--samples", f"{name}=2", "--system", "r1")
    assert len(asked) == 2
    assert asked[0]["messages"][0]["role"] == "system"
    assert "<think>" in asked[0]["messages"][0]["content"]
    scores = json.loads((tmp_path / "out" / "eval.json").read_text())["sets"][name]
    assert (scores["problems"], scores["pass_at_1"]["value"]) == (1, 1.0)


@pytest.mark.parametrize("name", COPIES)
def test_each_set_is_scored_by_what_is_said_after_the_thinking(name: str, tmp_path: Path) -> None:
    """The draft has another answer, in the form that each set asks for."""
    data = write(tmp_path / "rows.jsonl", [COPIES[name]])

    def reply(body: dict[str, Any]) -> str:
        said = solved(body)
        other = "A" if said[-1] != "A" else "B"
        return f"[THINK]It is \\boxed{{3}}, or so.\nANSWER: {other}\n[/THINK]{said}"

    with plain_server(reply) as (url, _):
        options = ["--url", url, "--sets", name, "--data", f"{name}={data}"]
        run(str(tmp_path / "out"), *options, "--samples", f"{name}=1")
    scores = json.loads((tmp_path / "out" / "eval.json").read_text())["sets"][name]
    assert scores["pass_at_1"]["value"] == 1.0


@pytest.mark.parametrize("form", ["{}", "\n{}\n"])
@pytest.mark.parametrize("name", COPIES)
def test_a_model_of_the_recipes_is_asked_and_scored_in_their_form(
    name: str, form: str, tmp_path: Path
) -> None:
    """A bare problem, as in training, and a short answer in tags, in which evalscope finds none."""
    data = write(tmp_path / "rows.jsonl", [COPIES[name]])

    def reply(body: dict[str, Any]) -> str:
        said = solved(body)
        said = said[said.index("ANSWER") :] if "ANSWER" in said else said[13:-2]
        return f"<think>\nA 3, or so: \\boxed{{3}}\n</think>\n<answer>{form.format(said)}</answer>"

    with plain_server(reply) as (url, asked):
        options = ["--url", url, "--sets", name, "--data", f"{name}={data}"]
        options += ["--samples", f"{name}=1", "--label", "x"]
        run(str(tmp_path / "out"), *options, "--template", "rlkd_r1")
        said = run(str(tmp_path / "out"), *options, code=1)
    assert "template: 'rlkd_r1' there, None now" in said
    (body,) = asked
    row = COPIES[name]
    problem = row.get("problem") or row.get("question") or row["Question"]
    if name == "gpqa_diamond":
        assert problem in body["messages"][0]["content"]
    else:
        assert body["messages"] == [{"role": "user", "content": problem}]
    found = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert found["settings"]["template"] == "rlkd_r1"
    assert found["sets"][name]["pass_at_1"]["value"] == 1.0


NUMBERS: dict[str, dict[str, Any]] = {
    "aime24": {"problem_idx": 1, "problem": "What is 3 + 4?", "answer": 7, "problem_type": ["A"]},
    "math500": {**MATH[0], "answer": 2.0, "level": "Level 1", "unique_id": 17},
    "gpqa_diamond": {
        "Question": "Which is the noble gas number, 10 of",
        "Correct Answer": 10,
        **{f"Incorrect Answer {n}": n for n in (1, 2, 3)},
    },
    "gsm8k": {"question": "Two and three?", "answer": 5},
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_texts_where_a_text_is_wanted(name: str, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", [NUMBERS[name]])

    def reply(body: dict[str, Any]) -> str:
        prompt = body["messages"][-1]["content"]
        if "noble gas" not in prompt:
            return solved(body)
        letter = next(line for line in prompt.splitlines() if line.endswith(") 10"))[0]
        return f"ANSWER: {letter}"

    with plain_server(reply) as (url, _):
        options = ["--url", url, "--sets", name, "--data", f"{name}={data}"]
        run(str(tmp_path / "out"), *options, "--samples", f"{name}=1")
    scores = json.loads((tmp_path / "out" / "eval.json").read_text())["sets"][name]
    assert (scores["problems"], scores["pass_at_1"]["value"]) == (1, 1.0)


def labels(out: Path) -> str:
    return json.loads((out / "eval.json").read_text())["label"]


def test_a_served_model_is_labelled_by_its_name(tmp_path: Path) -> None:
    """Two of them on one server, and one of the same name again; the table tells all apart."""
    data = write(tmp_path / "math.jsonl", MATH[:1])
    options = ["--sets", "math500", "--data", f"math500={data}", "--samples", "math500=1"]
    with plain_server(lambda body: "\\boxed{2}") as (url, asked):
        for folder, served in (("a", "org/one"), ("b", "two"), ("c", "two")):
            run(str(tmp_path / folder), "--url", url, "--served", served, *options)
        assert [body["model"] for body in asked] == ["org/one", "two", "two"]
        assert [labels(tmp_path / folder) for folder in "abc"] == ["org/one", "two", "two"]
        folders = [str(tmp_path / folder) for folder in "abc"]
        table = CliRunner().invoke(app, ["eval-table", *folders], env={"COLUMNS": "500"}).output
        assert "org/one" in table and "(" not in table.partition("org/one")[2][:20]
        assert f"two ({tmp_path / 'b'})" in table and f"two ({tmp_path / 'c'})" in table


def test_an_evaluation_under_another_label_is_not_mixed_with_this_one(tmp_path: Path) -> None:
    """The label of before is refused with a way to go on, and nothing is drawn."""
    data = write(tmp_path / "math.jsonl", MATH[:1])
    options = ["--sets", "math500", "--data", f"math500={data}", "--samples", "math500=1"]
    out = str(tmp_path / "out")
    with plain_server(lambda body: "\\boxed{2}") as (url, asked):
        options += ["--url", url, "--served", "m"]
        run(out, *options, "--label", "v1")
        said = run(out, *options, code=1)
        assert "has the label 'v1', not 'm': resume it with --label v1" in said
        run(out, *options, "--label", "v1")
        assert len(asked) == 1
    assert labels(tmp_path / "out") == "v1"


MARKS = [
    ("<think>", "</think>"),
    ("", "</think>"),  # the chat template wrote the first one
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
    ("analysis", "assistantfinal"),  # the same where the server took the special tokens away
]


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_an_answer_is_looked_for_after_the_thinking(
    opening: str, closing: str, tmp_path: Path
) -> None:
    """A number that stands in the thinking alone is no answer, also where nothing follows."""
    replies = {
        "1 + 1": [f"{opening}We have \\boxed{{3}}.{closing}So \\boxed{{2}}."],
        "2 + 2": [f"{opening}We have \\boxed{{4}}.{closing}No idea."],
        "3 + 3": [f"{opening}We have \\boxed{{6}}.{closing}"],
    }
    data = write(tmp_path / "math.jsonl", MATH)
    options = ["--sets", "math500", "--data", f"math500={data}", "--samples", "math500=1"]
    with plain_server(numbered(replies)) as (url, _):
        run(str(tmp_path / "out"), "--url", url, *options, "--concurrency", "1")
    samples = rows(tmp_path / "out" / "samples" / "math500.jsonl")
    assert [row["right"] for row in samples] == [True, False, False]
    assert samples[0]["answer"] == "2"


@pytest.mark.parametrize("opening", [opening for opening, _ in MARKS if opening])
def test_an_answer_in_any_draft_that_was_cut_off_is_none(opening: str, tmp_path: Path) -> None:
    data = write(tmp_path / "math.jsonl", MATH[:1])
    options = ["--sets", "math500", "--data", f"math500={data}", "--samples", "math500=1"]
    draft = f"{opening}We have \\boxed{{2}} but wait"
    with plain_server(lambda body: draft, finish="length") as (url, _):
        run(str(tmp_path / "out"), "--url", url, *options)
    (sample,) = rows(tmp_path / "out" / "samples" / "math500.jsonl")
    assert (sample["right"], sample["stop"]) == (False, "max_tokens")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_that_a_server_delivers_apart_holds_no_answer(field: str, tmp_path: Path) -> None:
    said = {
        "1 + 1": {field: "We have \\boxed{3}.", "content": "So \\boxed{2}."},
        "2 + 2": {field: "We have \\boxed{4}.", "content": "No idea."},
        "3 + 3": {field: "We have \\boxed{6}.", "content": None},
    }
    data = write(tmp_path / "math.jsonl", MATH)
    options = ["--sets", "math500", "--data", f"math500={data}", "--samples", "math500=1"]

    def reply(body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["messages"][-1]["content"]
        return next(message for text, message in said.items() if text in prompt)

    with plain_server(reply) as (url, _):
        run(str(tmp_path / "out"), "--url", url, *options)
    samples = rows(tmp_path / "out" / "samples" / "math500.jsonl")
    assert [row["right"] for row in samples] == [True, False, False]
    assert samples[0]["response"] == "<think>We have \\boxed{3}.</think>\nSo \\boxed{2}."
