"""The folder of an evaluation or a measurement is of one job, and of one process at a time."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_eval import diversity_job, evaluation_plan
from rlkd_plugin.rlkd_eval.kept_files import PLAN
from rlkd_plugin.rlkd_eval.plans import Plan, claim_folder, keep_plan, read_plan

NAMES = ("eval.json", "samples")
FACTS: dict[str, Any] = {"model": "m", "samples": None, "tokens": 5}


def keep(folder: Path, command: str = "rlkd eval", **change: Any) -> None:
    keep_plan(folder, Plan(command, FACTS | change), NAMES)


def test_the_same_job_may_go_on(tmp_path: Path) -> None:
    keep(tmp_path / "new")
    before = (tmp_path / "new" / PLAN).read_bytes()
    keep(tmp_path / "new")
    assert (tmp_path / "new" / PLAN).read_bytes() == before
    assert read_plan(tmp_path / "new") == Plan("rlkd eval", FACTS)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"model": "n"}, "model: 'm' there, 'n' now"),
        ({"samples": {"aime24": 2}}, "samples: None there"),
        ({"system": "x"}, "system: None there, 'x' now"),
        ({"tokens": 5.5}, "tokens: 5 there, 5.5 now"),
    ],
)
def test_another_job_is_refused_with_both_named(
    change: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    keep(tmp_path)
    with pytest.raises(RlkdError, match=rf"is another job's \({fault}.*name a new folder"):
        keep(tmp_path, **change)


def test_retrained_weights_in_the_same_place_are_another_model(tmp_path: Path) -> None:
    keep(tmp_path, weights="1")
    keep(tmp_path)  # on a machine that does not have them
    with pytest.raises(RlkdError, match="weights: '1' there, '2' now"):
        keep(tmp_path, weights="2")


def test_another_command_is_refused(tmp_path: Path) -> None:
    keep(tmp_path)
    with pytest.raises(RlkdError, match="was made by `rlkd eval`, not by `rlkd diversity`"):
        keep(tmp_path, "rlkd diversity")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_there_without_a_plan_is_somebody_elses(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"mine": 1}')
    (tmp_path / "notes.txt").write_text("of no concern")
    words = rf"{name} exists already, without a plan.json of"
    with pytest.raises(RlkdError, match=words), claim_folder(tmp_path):
        keep(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {name, "notes.txt"}
    (tmp_path / name).unlink()
    keep(tmp_path)


PLANS = ["[]", "{}", "null", "5", '{"name": "x"}', "notes", '{"command": 1, "makers": {}}', "\x00"]


@pytest.mark.parametrize("text", PLANS)
def test_a_foreign_plan_is_one_sentence_and_stays(text: str, tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text(text)
    with (
        pytest.raises(RlkdError, match=r"is not a plan|is not readable: .*name a new folder"),
        claim_folder(tmp_path),
    ):
        keep(tmp_path)
    assert (tmp_path / PLAN).read_text() == text


def test_a_newer_plan_is_refused(tmp_path: Path) -> None:
    keep(tmp_path)
    newer = json.loads((tmp_path / PLAN).read_text()) | {"format": 99, "version": "9.9"}
    (tmp_path / PLAN).write_text(json.dumps(newer))
    with pytest.raises(RlkdError, match=r"by version 9\.9 of the plugin, which is newer"):
        keep(tmp_path)


def test_a_plan_of_another_kind_of_evaluation_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text('{"subject": 5, "problems": 6}')
    with pytest.raises(RlkdError, match="has no evaluation"):
        evaluation_plan.resume_evaluation(tmp_path)
    with pytest.raises(RlkdError, match=r"has no evaluation \(plan.json\); name a folder"):
        evaluation_plan.resume_evaluation(tmp_path / "none")


def test_an_old_measurement_goes_on_with_its_responses(tmp_path: Path) -> None:
    """Its plan had the engine in it, which the structures have a record of now."""
    old = FACTS | {"samples": 16, "engine": "gsrm"}
    (tmp_path / PLAN).write_text(json.dumps(old))
    keep(tmp_path, "rlkd diversity", samples=16)
    with pytest.raises(RlkdError, match="samples: 16 there, 8 now"):
        keep(tmp_path, "rlkd diversity", samples=8)
    assert json.loads((tmp_path / PLAN).read_text()) == old


def test_a_folder_is_of_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with claim_folder(folder):
        words = "another job writes .*new; wait for it"
        with pytest.raises(RlkdError, match=words), claim_folder(folder):
            pass
        keep(folder)
    with claim_folder(folder):
        keep(folder)


def test_a_job_that_did_not_begin_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claim_folder(tmp_path / "a" / "new"):
        raise ZeroDivisionError
    assert not (tmp_path / "a" / "new").exists()
    (tmp_path / "file").touch()
    with pytest.raises(RlkdError, match="is not a folder"), claim_folder(tmp_path / "file"):
        pass


def test_each_job_knows_what_it_writes() -> None:
    """So that none of it can be somebody else's."""
    assert "eval.json" in evaluation_plan.WRITTEN and "samples" in evaluation_plan.WRITTEN
    assert {"diversity.json", "responses.jsonl", "structures.jsonl"} <= {*diversity_job.WRITTEN}
