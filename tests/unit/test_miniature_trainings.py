"""The miniature's trainings: resumed, stopped, failed and diverged, with a stand-in for `swift`."""

import json
import signal
import subprocess
import sys
from argparse import Namespace
from collections import namedtuple
from pathlib import Path

import pytest

from examples.miniature import run
from examples.miniature import trainings as trainings_module
from examples.miniature.arms import ARMS, STUDENTS
from examples.miniature.trainings import Training, train_all

RLKD = next(stage for stage in ARMS if stage.name == "rlkd")

STAND_IN = """
import json, pathlib, sys, time
folder, steps, ending = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
folder.mkdir(parents=True, exist_ok=True)
done = max([int(p.name[11:]) for p in folder.glob("checkpoint-*")], default=0)
(folder / "began").open("a").write(f"{done}\\n")
for step in range(done + 1, steps + 1):
    loss = "nan" if ending == "diverges" and step == 2 else 0.5
    with (folder / "logging.jsonl").open("a") as log:
        log.write(json.dumps({"loss": loss, "global_step/max_steps": f"{step}/{steps}"}) + "\\n")
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir()
    state = {"global_step": step, "max_steps": steps}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    if ending == "fails" and step == 1:
        sys.exit("No space left on device")
    if ending == "hangs" and step == 1:
        time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings_module, "POLL_SECONDS", 0.05)


class StandIn(Training):
    """A training whose process is `STAND_IN`; `ending` says what becomes of it."""

    ending = "well"

    def command(self) -> list[str]:
        return [sys.executable, "-c", STAND_IN, str(self.folder), "3", self.ending]


class Failing(StandIn):
    ending = "fails"


class Diverging(StandIn):
    ending = "diverges"


class Hanging(StandIn):
    ending = "hangs"


def training(kind: type[Training], folder: Path) -> Training:
    options = {"max_steps": 3}
    return kind(RLKD, folder, folder.parent / "model", "rlkd/jsonl:rows.jsonl", 1, options)


def test_one_that_fails_or_diverges_stops_no_other(tmp_path: Path) -> None:
    kinds = {"good": StandIn, "full": Failing, "wild": Diverging}
    trainings = [training(kind, tmp_path / name) for name, kind in kinds.items()]
    failed = train_all(trainings, 2, lambda running: None)
    assert failed.keys() == {"full", "wild"}
    assert "ended at step 1" in failed["full"] and "full.log" in failed["full"]
    assert "diverged" in failed["wild"] and "from step 2 on" in failed["wild"]
    assert b"No space left on device" in trainings[1].log.read_bytes()
    assert trainings[0].final() == tmp_path / "good" / "checkpoint-3"


def test_a_stopped_one_goes_on_where_it_stopped_and_a_finished_one_is_not_repeated(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"

    class Stop(Exception):
        pass

    def stop_after_one_step(running: object) -> None:
        if (folder / "checkpoint-1").exists():
            raise Stop

    hanging = training(Hanging, folder)
    with pytest.raises(Stop):
        train_all([hanging], 1, stop_after_one_step)
    assert hanging.final() is None and hanging.steps_done() == 1
    again = training(StandIn, folder)
    for _ in range(2):
        assert train_all([again], 1, lambda running: None) == {}
    assert (folder / "began").read_text("utf-8").split() == ["0", "1"]
    assert len(again.logged()) == 3
    assert again.seconds() > 0


def test_a_stop_ends_the_process_with_its_group(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Kept(Hanging):
        def start(self) -> "subprocess.Popen[bytes]":
            started.append(super().start())
            return started[-1]

    def interrupt(running: object) -> None:
        if (tmp_path / "run" / "checkpoint-1").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_all([training(Kept, tmp_path / "run")], 1, interrupt)
    assert started[0].poll() == -signal.SIGTERM


def test_the_command_names_the_last_whole_checkpoint(tmp_path: Path) -> None:
    one = Training(RLKD, tmp_path / "rlkd-1", tmp_path / "m", "rlkd/jsonl:r", 1, {"max_steps": 8})
    words = one.command()
    assert words[1:3] == ["rlhf", str(RLKD.yaml)]
    assert "--resume_from_checkpoint" not in words
    for step, whole in ((2, True), (10, True), (12, False)):
        folder = one.folder / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if whole:
            (folder / "trainer_state.json").write_text(
                json.dumps({"global_step": step, "max_steps": 20}), "utf-8"
            )
    words = one.command()
    at = words.index("--resume_from_checkpoint")
    assert words[at + 1] == str(one.folder / "checkpoint-10")
    assert one.final() is None


def test_a_half_line_of_the_log_is_skipped_and_a_repeated_step_counts_once(tmp_path: Path) -> None:
    one = training(Training, tmp_path / "run")
    one.folder.mkdir()
    lines = [
        {"loss": 1.0, "global_step/max_steps": "1/3"},
        {"loss": 0.9, "global_step/max_steps": "2/3"},
        {"loss": 0.8, "global_step/max_steps": "2/3"},
        {"train_runtime": 7.0, "global_step/max_steps": "2/3"},
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"loss": 0.7, "glob'
    (one.folder / "logging.jsonl").write_text(text, "utf-8")
    assert [(step, entry["loss"]) for step, entry in one.logged()] == [(1, 1.0), (2, 0.8)]
    assert one.diverged_at() is None


def test_every_recipe_is_there_and_every_arm_starts_from_a_student() -> None:
    assert all(stage.yaml.is_file() for stage in (*STUDENTS, *ARMS))
    assert {stage.start for stage in ARMS} == {stage.name for stage in STUDENTS}


def test_a_folder_of_another_study_is_refused(tmp_path: Path) -> None:
    run.check_same(tmp_path, Namespace(steps=8, quick=False))
    run.check_same(tmp_path, Namespace(steps=8, quick=False))
    with pytest.raises(SystemExit, match="holds a study with other"):
        run.check_same(tmp_path, Namespace(steps=9, quick=False))


def test_a_disk_without_room_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(run.shutil, "disk_usage", lambda folder: usage(10**6))
    with pytest.raises(SystemExit, match=r"0\.0 GB free.*make room"):
        run.main([str(tmp_path / "out")])
    assert not (tmp_path / "out" / "data").exists()
