"""Another tool's, or broken, results in a folder: one sentence, exit code 1, nothing written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_eval.eval_samples import check_responses, check_samples, scores_of
from rlkd_plugin.rlkd_eval.results import DIVERSITY, EVALUATION, read_diversity, read_evaluation
from tests.support.report_folders import log_entry, write_lines

K4 = {"any": 0.5, "unbiased": 0.5, "low": 0.1, "high": 0.9}
SET: dict[str, Any] = {
    "name": "MATH-500",
    "problems": 2,
    "samples": 4,
    "cut_off": 0.0,
    "pass_at_1": {"value": 0.5, "low": 0.1, "high": 0.9},
    "pass_at_1_of_runs": {"1": 0.5, "4": 0.5},
    "pass_at_k": {"4": K4},
}
STEP = {"step": 1, "diversity": 1.25, "questions": 2, "responses": 4}


def a_set(**changed: Any) -> str:
    return json.dumps({"label": "x", "sets": {"math500": {**SET, **changed}}})


def an_evaluation(**changed: Any) -> str:
    return json.dumps({"label": "x", "sets": {"math500": SET}, **changed})


def a_step(**changed: Any) -> str:
    return json.dumps({"label": "x", "steps": [{**STEP, **changed}]})


def a_diversity(**changed: Any) -> str:
    return json.dumps({"label": "x", "steps": [STEP], **changed})


FOREIGN: list[str | bytes] = [
    *("", "[]", "{}", "null", "5", '"x"', "{", '{"a": 1}{"b": 2}', "NaN", "\ufeff{}", "[" * 5000),
    *("1" * 5000, b"\xff\xfe\x00", b"PK\x03\x04\x00", '{"results": {"gsm8k": {"acc": 0.1}}}'),
    '{"config": {"model": "hf"}, "label": "x", "results": {"aime24": 0.5}}',
]
MEASURES: list[Any] = [
    *(0.5, [0.5, 0.1, 0.9], {}, {"value": 0.5}, {"value": -0.1, "low": -0.2, "high": 0}),
    *({"value": 0.5, "low": 0.6, "high": 0.4}, {"value": 1e7, "low": 0, "high": 1e308}),
    {"value": "0.5", "low": 0, "high": 1},
]
EVALUATIONS = [
    *(an_evaluation(label=label) for label in (5, None, ["x"])),
    *(an_evaluation(sets=sets) for sets in ([], {}, None, 5, {"nope": SET}, {"math500": 5})),
    *(an_evaluation(sets=sets) for sets in ({"math500": {}}, {"math500": [SET]}, {"": SET})),
    *(an_evaluation(sets={key: SET}) for key in ("own:", "own", "Own:x", " own:x")),
    *(a_set(**{name: value}) for name in ("structure", "depth") for value in MEASURES),
    *(a_set(beyond_teacher=value) for value in (*MEASURES, {"value": 2, "low": 0, "high": 2})),
    *(an_evaluation(step=step) for step in ("x", 1.5, -1, 10**30)),
    *(an_evaluation(settings=5), an_evaluation(run=5), an_evaluation(versions=[])),
    *(a_set(problems=count) for count in (0, -1, 2.5, 10**30, "2", True, None)),
    *(a_set(samples=count) for count in (0, -1, "4", 10**30)),
    *(a_set(cut_off=share) for share in (-0.1, 1.1, "0", None, 5)),
    *(a_set(name=name) for name in (5, None)),
    *(a_set(pass_at_1={**SET["pass_at_1"], "value": v}) for v in (-0.1, 1.1, "x", None, 50)),
    *(a_set(pass_at_1={**SET["pass_at_1"], **ends}) for ends in ({"low": 0.95}, {"high": 2})),
    *(a_set(pass_at_1=value) for value in (None, 0.5, {}, [0.5, 0.1, 0.9])),
    *(a_set(pass_at_1_of_runs=runs) for runs in ({"a": 0.5}, {"0": 0.5}, {"1": 7}, [0.5])),
    *(a_set(pass_at_k=k) for k in ({"-1": K4}, {"0": K4}, {"4": 0.5}, {"x": K4}, [K4])),
    *(a_set(pass_at_k={"4": {**K4, **part}}) for part in ({"any": 9}, {"low": 1}, {"high": -1})),
    *(an_evaluation().replace("0.5", number) for number in ("NaN", "1e999", "-Infinity", "0,5")),
]
DIVERSITIES = [
    *(a_diversity(label=label) for label in (5, None)),
    *(a_diversity(steps=steps) for steps in ([], None, {}, [5], [{}], [STEP, STEP], "x")),
    *(a_step(step=step) for step in (0, -1, "1", 1.5, 10**9)),
    *(a_step(diversity=value) for value in (0, -1, "x", None, 1e300)),
    *(a_step(questions=-1), a_step(responses=-4), a_step(responses="4")),
    *(a_diversity(temperature=value) for value in (-1, "hot")),
    *(a_diversity(samples=-1), a_diversity(cut_off=-3), a_diversity(responses=4, cut_off=5)),
    *(a_diversity(statuses=value) for value in ([], {"ok": -1}, {"ok": "x"})),
    *(a_diversity().replace("1.25", number) for number in ("NaN", "1e999", "-Infinity")),
]
CASES = [
    *((EVALUATION, "eval-table", content) for content in (*FOREIGN, *EVALUATIONS)),
    *((DIVERSITY, "diversity-table", content) for content in (*FOREIGN, *DIVERSITIES)),
]


def refusal(command: str, *folders: Path) -> str:
    """Run a command that has to end with one sentence."""
    done = CliRunner().invoke(app, [command, *map(str, folders)])
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.output.startswith("rlkd: ") and done.output.count("\n") == 1
    return done.output


@pytest.mark.parametrize(("name", "command", "content"), CASES)
def test_a_foreign_result_is_one_sentence(
    name: str, command: str, content: str | bytes, tmp_path: Path
) -> None:
    content = content.encode() if isinstance(content, str) else content
    (tmp_path / name).write_bytes(content)
    said = refusal(command, tmp_path)
    assert str(tmp_path) in said and name in said
    assert f"; name a folder of `rlkd {command.partition('-')[0]}" in said
    said = refusal("report", tmp_path)
    assert f"{tmp_path}: {name} is not readable: " in said and "; name folders of runs" in said
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(
    ("name", "command"), [(EVALUATION, "eval-table"), (DIVERSITY, "diversity-table")]
)
def test_what_stands_in_the_place_of_a_file_or_a_folder_is_named(
    name: str, command: str, tmp_path: Path
) -> None:
    (tmp_path / "a" / name).mkdir(parents=True)
    (tmp_path / "b").write_text("x")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / name).symlink_to(tmp_path / "nothing")
    for folder in ("a", "b", "c", "d"):
        for one in (command, "report"):
            assert str(tmp_path / folder) in refusal(one, tmp_path / folder)


def test_a_good_result_beside_a_foreign_one(tmp_path: Path) -> None:
    """A table of both would lack one: it is refused. The report says what it lacks."""
    for folder, content in (("good", an_evaluation()), ("odd", "[]")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / EVALUATION).write_text(content)
    assert "odd" in refusal("eval-table", tmp_path / "good", tmp_path / "odd")
    done = CliRunner().invoke(app, ["report", str(tmp_path / "good"), str(tmp_path / "odd")])
    assert done.exit_code == 0 and "note: odd: eval.json is not readable" in done.output


def test_a_set_that_a_table_does_not_know_is_named(tmp_path: Path) -> None:
    """It would be left out without a word; the report shows it under its own name."""
    (tmp_path / EVALUATION).write_text(an_evaluation(sets={"math500": SET, "aime99": SET}))
    said = refusal("eval-table", tmp_path)
    assert f"{tmp_path / EVALUATION} has results on 'aime99', which is no test set" in said


def test_steps_with_gaps_are_all_shown(tmp_path: Path) -> None:
    steps = [{**STEP, "step": number} for number in (2, 30)]
    (tmp_path / DIVERSITY).write_text(a_diversity(steps=steps))
    done = CliRunner().invoke(app, ["diversity-table", str(tmp_path)])
    rows = [line.split("│")[1].strip() for line in done.output.splitlines() if "1.2500" in line]
    assert rows == ["2", "30"]


def test_good_results_are_read(tmp_path: Path) -> None:
    (tmp_path / EVALUATION).write_text(an_evaluation())
    (tmp_path / DIVERSITY).write_text(a_diversity())
    assert read_evaluation(tmp_path).sets["math500"].pass_at_k[4].estimate.high == 0.9
    assert read_diversity(tmp_path).steps[0].diversity == 1.25


# --- samples and responses of an evaluation ---

SAMPLE = {"problem": "a:0", "sample": 0, "right": True, "stop": "stop"}
LINES: list[bytes] = [
    *(b"[]", b"{}", b"null", b"5", b"\xff", b"{", b'{"problem": "a"}', b'{"id": 1, "text": "x"}'),
    *(b'{"problem": 1, "right": true}', b'{"problem": "a", "right": "yes"}', b'"x"', b"1" * 5000),
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("before", [b"", json.dumps(SAMPLE).encode() + b"\n\n"])
def test_a_line_that_is_no_sample_is_named(line: bytes, before: bytes, tmp_path: Path) -> None:
    file = tmp_path / "math500.jsonl"
    file.write_bytes(before + line + b"\n")
    number = 3 if before else 1
    refused = [lambda: scores_of(file), lambda: check_samples(tmp_path, ["math500", "x"], "x")]
    for read in refused:
        with pytest.raises(RlkdError, match=r": remove it, or name a new folder$") as error:
            read()
        assert str(error.value).startswith(f"{file}:{number}")
    check_samples(tmp_path, ["math500"], "math500")  # it is written anew


def test_samples_of_another_set_are_named_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text("{}\n")
    with pytest.raises(RlkdError, match=r"notes\.jsonl is not of a test set of this evaluation"):
        check_samples(tmp_path, ["math500", "aime24"], "math500")
    (tmp_path / "notes.jsonl").unlink()
    (tmp_path / "aime24.jsonl").write_text("")
    with pytest.raises(RlkdError, match=r"aime24\.jsonl has no sample"):
        check_samples(tmp_path, ["math500", "aime24"], "math500")


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_evalscope_does_not_write_is_named_before_any_work(
    line: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "predictions" / "model" / "math_500_Level 1.jsonl"
    file.parent.mkdir(parents=True)
    good = {"index": 0, "model_output": {"choices": []}}
    file.write_bytes(json.dumps(good).encode() + b"\n" + line + b"\n")
    with pytest.raises(RlkdError, match=f"; remove {tmp_path}, and draw again$") as error:
        check_responses(tmp_path)
    assert str(error.value).startswith(f"{file}:2 is not a line that evalscope writes here")


# --- logs and traces ---

ENTRY = log_entry(1, 3)
ODD_VALUES: list[Callable[[str], Any]] = [
    lambda key: {**ENTRY, key: None},
    lambda key: {**ENTRY, key: "x"},
    lambda key: {**ENTRY, key: [1]},
    lambda key: {**ENTRY, key: {}},
    lambda key: {**ENTRY, key: 10**400},
    lambda key: {**ENTRY, key: float("nan")},
    lambda key: {**ENTRY, key: "9" * 5000 + "/3"},
]


@pytest.mark.parametrize("made", ODD_VALUES)
@pytest.mark.parametrize("key", ["reward", "global_step/max_steps", "step_time", "phase"])
def test_odd_values_in_a_log_end_no_command(
    key: str, made: Callable[[str], Any], tmp_path: Path
) -> None:
    """Alone they are nothing to show; beside a good step they cost it nothing."""
    for rows, is_good in (([made(key)], False), ([log_entry(2, 3), made(key)], True)):
        write_lines(tmp_path / "logging.jsonl", rows)
        for command in ("curves", "report"):
            done = CliRunner().invoke(app, [command, str(tmp_path)])
            assert isinstance(done.exception, SystemExit | None), done.exception
            assert done.exit_code in ((0,) if is_good else (0, 1))
            assert done.exit_code == 0 or done.output.count("rlkd: ") == 1
