"""One command for all models of a run, while the run goes on."""

from pathlib import Path

import pytest

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_cli.each_model import each_model
from rlkd_plugin.rlkd_eval.run_models import RunModel


def test_a_checkpoint_that_the_training_deletes_meanwhile_is_not_served(tmp_path: Path) -> None:
    """Step 0 may be an id on a hub; a checkpoint is a folder, or gone."""
    folders = {step: tmp_path / f"checkpoint-{step}" for step in (10, 20)}
    for folder in folders.values():
        folder.mkdir()
    models = [RunModel("run", 0, "Qwen/Qwen2.5-Math-7B")]
    models += [RunModel("run", step, str(folder)) for step, folder in folders.items()]
    worked_on: list[int] = []

    def work(_: Path, model: RunModel) -> bool:
        worked_on.append(model.step)
        if model.step == 10:
            folders[20].rmdir()  # the training's save_total_limit
        return True

    with pytest.raises(
        RlkdError, match=r"run, step 20 \(3 of 3\), .*was deleted while .*Done so far: 2\. "
    ):
        each_model(models, tmp_path / "out", work)
    assert worked_on == [0, 10]
