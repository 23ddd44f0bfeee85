"""`rlkd curves` of structured training: from ms-swift's log to table, summary and chart."""

import json
from pathlib import Path

from rich.console import Console

from rlkd_plugin.rlkd_eval.phase_chart import draw_phases
from rlkd_plugin.rlkd_eval.phase_log import PhaseStep, phase_starts, phase_steps
from rlkd_plugin.rlkd_eval.run_curves import show

PNG = b"\x89PNG\r\n\x1a\n"


def entry(step: int, phase: int, **values: float) -> dict[str, object]:
    """A line as ms-swift logs it."""
    return {"loss": 1.0, "phase": float(phase), "global_step/max_steps": f"{step}/6", **values}


LOG = [
    entry(1, 1, loss_meta=3.0),
    entry(2, 1, loss_meta=2.0),
    entry(3, 2, loss_solve=1.5),
    entry(4, 2, loss_solve=1.0),
    entry(5, 3, loss_meta=1.8, loss_solve=0.9, a=2.5, b=1.25),
    entry(6, 3, loss_meta=1.6, loss_solve=0.8, a=2.6, b=1.15),
    {"train_runtime": 5.0, "global_step/max_steps": "6/6"},
]


def shown(folder: Path) -> str:
    """What `rlkd curves` prints, in words."""
    console = Console(width=100, markup=False, highlight=False, record=True)
    with console.capture() as capture:
        show(folder, console)
    return " ".join(capture.get().replace("│", " ").split())


def test_a_step_has_the_values_of_its_phase() -> None:
    steps = phase_steps(LOG)
    assert steps[0] == PhaseStep(1, 1, 3.0, None, None, None)
    assert steps[4] == PhaseStep(5, 3, 1.8, 0.9, 2.5, 1.25)
    assert len(steps) == 6


def test_a_resumed_run_counts_a_step_as_logged_last() -> None:
    again = phase_steps([*LOG, entry(4, 2, loss_solve=0.7)])
    assert again[3].loss_solve == 0.7 and len(again) == 6


def test_the_phases_begin_at_their_first_steps() -> None:
    assert phase_starts(phase_steps(LOG)) == [(1, 1), (3, 2), (5, 3)]


def test_a_log_of_another_run_has_no_phase() -> None:
    assert phase_steps([{"reward": 1.0, "global_step/max_steps": "1/2"}, {}]) == []


def test_the_command_shows_the_run_and_draws_it(tmp_path: Path) -> None:
    lines = [json.dumps(line) for line in LOG]
    (tmp_path / "logging.jsonl").write_text("\n".join([*lines, '{"broken']) + "\n")
    said = shown(tmp_path)
    assert "5 3 1.8000 0.9000 2.5000 1.2500" in said
    assert "1 1 3.0000 - - -" in said
    assert "loss of meta-reasoning 3.0000 -> 1.6000" in said
    assert "a 2.5000 -> 2.6000, b 1.2500 -> 1.1500" in said
    assert "note: not whole JSON, skipped: line 8" in said
    assert (tmp_path / "rlkd_curves.png").read_bytes().startswith(PNG)


def test_the_chart_names_its_curves_and_phases() -> None:
    figure = draw_phases("run", phase_steps(LOG))
    losses, weights = figure.axes
    assert [text.get_text() for text in losses.texts] == [
        "1: meta-reasoning",
        "2: solving",
        "3: both, by equation 1",
    ]
    assert [line.get_text() for line in losses.get_legend().get_texts()] == [
        "meta-reasoning",
        "solving",
    ]
    assert weights.get_ylabel() == "weight"
