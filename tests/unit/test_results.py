"""`eval.json`, `diversity.json` and `plan.json`: files of older versions are read."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_cli.tables.diversity_table import show_diversity
from rlkd_plugin.rlkd_cli.tables.eval_table import show_results
from rlkd_plugin.rlkd_eval.evaluation_plan import (
    EvaluationJob,
    Sampling,
    Subject,
    describe_subject,
    prepare_evaluation,
    resume_evaluation,
)
from rlkd_plugin.rlkd_eval.kept_files import PLAN, write_json
from rlkd_plugin.rlkd_eval.report import eval_figures
from rlkd_plugin.rlkd_eval.result_values import Interval, Measure
from rlkd_plugin.rlkd_eval.results import (
    DIVERSITY,
    EVALUATION,
    Diversity,
    DiversityStep,
    PassAtK,
    read_diversity,
    read_evaluation,
)
from tests.support.report_folders import own_evaluation

# as the jobs wrote them before these files had classes

OLD_EVALUATION = """{
 "label": "R, step 120",
 "model": "out/checkpoint-120",
 "adapter": "",
 "run": "R",
 "step": 120,
 "settings": {
  "temperature": 0.6,
  "top_p": 0.95,
  "max_tokens": 32768,
  "system": "",
  "limit": 0,
  "samples": {
   "math500": 8
  }
 },
 "versions": {
  "rlkd_plugin": "0.1.0",
  "evalscope": "1.0.0"
 },
 "sets": {
  "math500": {
   "name": "MATH-500",
   "problems": 500,
   "samples": 8,
   "cut_off": 0.0125,
   "pass_at_1": {
    "value": 0.5,
    "low": 0.46,
    "high": 0.54
   },
   "pass_at_1_of_runs": {
    "1": 0.48,
    "4": 0.49,
    "8": 0.5
   },
   "pass_at_k": {
    "4": {
     "any": 0.7,
     "unbiased": 0.71,
     "low": 0.67,
     "high": 0.75
    },
    "8": {
     "any": 0.8,
     "unbiased": 0.8,
     "low": 0.76,
     "high": 0.84
    }
   }
  }
 }
}"""
OLD_DIVERSITY = """{
 "label": "ü",
 "samples": 16,
 "temperature": 0.8,
 "max_tokens": 32768,
 "system": "",
 "count": 500,
 "seed": 42,
 "embedding": "gte-Qwen2-7B-instruct",
 "questions": 500,
 "responses": 8000,
 "cut_off": 7,
 "statuses": {
  "ok": 7990,
  "undecomposable": 10
 },
 "steps": [
  {
   "step": 1,
   "diversity": 1.25,
   "questions": 499,
   "responses": 7990
  }
 ]
}"""
OLD_PLAN = """{
 "subject": {
  "label": "R",
  "model": "m",
  "adapter": "",
  "run": "",
  "step": null
 },
 "temperature": 0.6,
 "top_p": 0.95,
 "max_tokens": 32768,
 "system": "",
 "limit": 0,
 "samples": {
  "aime24": 2
 },
 "problems": {
  "aime24": "e4a6a0577479b2b4"
 }
}"""


def shown(show: Callable[[Sequence[Path], Console], None], folder: Path) -> str:
    """Return what a table shows, in words."""
    console = Console(width=120, markup=False, highlight=False)
    with console.capture() as capture:
        show([folder], console)
    return " ".join(capture.get().replace("│", " ").split())


def test_an_old_evaluation_is_read(tmp_path: Path) -> None:
    (tmp_path / EVALUATION).write_text(OLD_EVALUATION, "utf-8")
    found = read_evaluation(tmp_path)
    assert (found.label, found.run, found.step) == ("R, step 120", "R", 120)
    math = found.sets["math500"]
    assert math.pass_at_1 == Interval(0.5, 0.46, 0.54)
    assert math.pass_at_1_of_runs == {1: 0.48, 4: 0.49, 8: 0.5}
    assert math.pass_at_k[4] == PassAtK(0.7, 0.71, 0.67, 0.75)
    assert "R, step 120 500 48.0 49.0 50.0 70.0 80.0 1.2" in shown(show_results, tmp_path)


def test_a_test_set_of_ones_own_is_a_table_under_its_name(tmp_path: Path) -> None:
    """Its name is no markup."""
    folder = own_evaluation(tmp_path, "R", 0)
    text = (folder / EVALUATION).read_text("utf-8").replace("longer orders", "[red]longer")
    (folder / EVALUATION).write_text(text, "utf-8")
    words = shown(show_results, folder)
    # pass@1 is 0.3 of the known orders, and 0.6 * 0.3 of the longer ones
    assert words.startswith("known orders ") and "R 200 30.0 97.0 0.0" in words
    assert "[red]longer" in words and "R 200 18.0 97.0 0.0" in words


def test_structures_on_held_out_problems_are_read(tmp_path: Path) -> None:
    known = read_evaluation(own_evaluation(tmp_path, "R", 0)).sets["own:known"]
    # three times and four times pass@1, which is 0.3
    assert known.structure is not None and known.structure.value == pytest.approx(0.9)
    assert known.depth is not None and known.depth.value == pytest.approx(1.2)
    assert known.beyond_teacher == Interval(0.1, 0.05, 0.15)
    with pytest.raises(ValueError, match="an interval from 2 to 1"):
        Measure(1, 2, 1)


def test_an_old_diversity_is_read(tmp_path: Path) -> None:
    (tmp_path / DIVERSITY).write_text(OLD_DIVERSITY, "utf-8")
    found = read_diversity(tmp_path)
    assert found.steps == (DiversityStep(1, 1.25, 499, 7990),)
    assert (found.label, found.temperature, found.statuses["ok"]) == ("ü", 0.8, 7990)
    words = shown(show_diversity, tmp_path)
    assert "1 - 1.2500 7990" in words and "a file of an older version" in words
    assert "ü: 8000 responses, 500 questions, 7 cut off; structures: {'ok': 7990," in words


def test_an_old_and_a_new_diversity_stand_side_by_side(tmp_path: Path) -> None:
    """D at 16 is sqrt(16 / 8.5) for c = 0.5; its error is 0.01 D^3 15 / 32."""
    steps = (DiversityStep(1, 1.3, 9, 99, 0.5, 0.01), DiversityStep(2, 1.5, 9, 99, -0.1))
    (tmp_path / "new").mkdir()
    write_json(tmp_path / "new" / DIVERSITY, Diversity(label="new", samples=8, steps=steps))
    (tmp_path / DIVERSITY).write_text(OLD_DIVERSITY, "utf-8")
    new, old = read_diversity(tmp_path / "new"), read_diversity(tmp_path)
    assert new.steps == steps
    words = shown(show_diversity, tmp_path / "new")
    assert "1 1.3720 ± 0.0121 1.3000 99" in words and "2 - 1.5000 99" in words
    fixed, plain = eval_figures.diversity([new, old])
    assert "ü has the plain form alone" in fixed.note and "ü has" not in plain.note
    (only,) = eval_figures.diversity([old])
    assert only.title == "Diversity of responses, plain form"


@pytest.mark.parametrize(
    ("read", "name", "old"),
    [
        (read_evaluation, EVALUATION, OLD_EVALUATION),
        (read_diversity, DIVERSITY, OLD_DIVERSITY),
    ],
)
def test_what_is_written_is_as_it_was(
    read: Callable[[Path], object], name: str, old: str, tmp_path: Path
) -> None:
    """The same text, key by key, so that what reads the file by its keys still does."""
    (tmp_path / name).write_text(old, "utf-8")
    write_json(tmp_path / name, read(tmp_path))
    assert (tmp_path / name).read_text("utf-8") == old


def test_an_old_plan_is_resumed(tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text(OLD_PLAN, "utf-8")
    job = resume_evaluation(tmp_path)
    assert job == EvaluationJob(
        tmp_path, Subject("R", "m"), Sampling(samples={"aime24": 2}), ["aime24"]
    )
    prepare_evaluation(job, {})  # the same evaluation: no error, and nothing is written
    assert (tmp_path / PLAN).read_text("utf-8") == OLD_PLAN


def test_what_another_version_adds_or_lacks_is_no_error(tmp_path: Path) -> None:
    old = json.loads(OLD_DIVERSITY)
    for name in ("responses", "statuses", "temperature"):
        del old[name]
    (tmp_path / DIVERSITY).write_text(json.dumps({**old, "new": [1]}), "utf-8")
    found = read_diversity(tmp_path)
    assert (found.responses, found.statuses, found.temperature) == (0, {}, None)
    assert "step ┃ ü ┃ plain ┃ responses" in shown(show_diversity, tmp_path)


def test_a_folder_without_a_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(RlkdError, match=r"has no evaluation \(eval.json\): .*No such file"):
        read_evaluation(tmp_path)
    (tmp_path / DIVERSITY).write_text("{", "utf-8")
    with pytest.raises(RlkdError, match=r"has no diversity \(diversity.json\): .*not readable"):
        read_diversity(tmp_path)


@pytest.mark.parametrize(
    ("served", "label", "run", "step"),
    [
        ("m", "m", "", None),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "", None),
        ("/models/base", "/models/base", "", None),
        # vLLM serves a folder under its path, if nobody says another name
        ("output/rlkd/v0-20260101-120000/checkpoint-120", "rlkd, step 120", "rlkd", 120),
        ("/data/rlkd/checkpoint-7/", "rlkd, step 7", "", 7),
        ("checkpoint-7", "checkpoint-7", "", 7),
        ("v1", "v1", "", None),
    ],
)
def test_a_served_model_has_its_name_as_label(
    served: str, label: str, run: str, step: int | None
) -> None:
    subject = describe_subject("", f"{served} at http://h:8000/v1", "", "", served)
    assert (subject.label, subject.run, subject.step) == (label, run, step)
    assert subject.model == f"{served} at http://h:8000/v1"
    assert describe_subject("mine", "m at u", "", "", served).label == "mine"


def test_models_without_a_server_are_labelled_as_before() -> None:
    assert describe_subject("", "Qwen/Qwen2.5-7B", "", "").label == "Qwen2.5-7B"
    assert describe_subject("", "out/v1-2/checkpoint-3", "", "").label == "out, step 3"
    assert describe_subject("", "base", "out/v1-2/checkpoint-3", "R").label == "R, step 3"


def test_equal_labels_are_told_apart_by_their_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / EVALUATION).write_text(OLD_EVALUATION, "utf-8")
        (tmp_path / name / DIVERSITY).write_text(OLD_DIVERSITY, "utf-8")
    folders = [tmp_path / "a", tmp_path / "b"]
    show_results(folders, Console(width=500))
    shown = capsys.readouterr().out
    assert f"R, step 120 ({tmp_path / 'a'})" in shown and f"({tmp_path / 'b'})" in shown
    show_results(folders[:1], Console(width=500))
    assert f"({tmp_path / 'a'})" not in capsys.readouterr().out
    show_diversity(folders, Console(width=500))
    assert f"ü ({tmp_path / 'b'})" in capsys.readouterr().out
