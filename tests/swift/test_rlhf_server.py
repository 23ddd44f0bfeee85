"""Real `swift rlhf` GRPO runs against a model server on loopback that checks every request."""

import re
from pathlib import Path
from typing import Any

from rlkd_plugin.engines.trace import read_rows, replay
from tests.support.loopback import GSRM, JUDGE, Asked, Loopback, said, structure_of
from tests.support.swift_run import grpo, steps_logged, tiny_options


def environment(server: Loopback, cache: Path) -> dict[str, str]:
    """Return the settings of a run with this server."""
    return {
        "RLKD_GSRM_BASE_URL": server.url,
        "RLKD_GSRM_MODEL": GSRM,
        "RLKD_JUDGE_BASE_URL": server.url,
        "RLKD_JUDGE_MODEL": JUDGE,
        "RLKD_CACHE_DIR": str(cache),
    }


def test_a_run_is_trained_on_the_servers_verdicts(
    loopback: Loopback, tiny: Path, tmp_path: Path
) -> None:
    """Requests, structures and verdicts of the log and the trace are those of the server.

    The judge says yes to every second question, so both kinds of verdict occur.
    """
    asked = iter(range(10**6))
    loopback.matches = lambda one, other: next(asked) % 2 == 0
    out = tmp_path / "run"
    env = environment(loopback, tmp_path / "cache")
    grpo(out, dataset="rlkd/demo#1", env=env, **tiny_options(tiny))
    trace = list(read_rows(out / "rlkd_trace_rank0.jsonl"))
    assert len(trace) == 8
    for row in trace:
        again = replay(row)
        assert (again.total if again else 0.0) == row.reward
    logged = steps_logged(out)
    probes = 2  # one request an endpoint before the training
    assert sum(line["rlkd/requests"] for line in logged) == len(loopback.asked) - probes
    # two steps on one problem: its teacher is asked about once, and then read from the disk
    teacher = trace[0].teacher.steps[0][0].removeprefix("plan to ")
    asks = [ask for ask in loopback.of("gsrm") if ask.content("reasoning path").startswith(teacher)]
    assert len(asks) == 1
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 1


def test_a_wrong_key_stops_the_run_before_training(
    loopback: Loopback, tiny: Path, tmp_path: Path
) -> None:
    """401 ends the run at its start; the message names the setting and not the key."""
    loopback.key = "sk-right"
    env = environment(loopback, tmp_path / "cache")
    env |= {"MY_KEY": "sk-wrong-and-secret", "RLKD_GSRM_API_KEY_ENV": "MY_KEY"}
    said = grpo(tmp_path / "run", code=1, env=env, **tiny_options(tiny))
    assert "RLKD_GSRM_API_KEY_ENV=MY_KEY" in said
    assert "sk-wrong-and-secret" not in said
    assert not (tmp_path / "run" / "checkpoint-2").exists()


def test_a_gsrm_that_decomposes_no_student_stops_two_ranks(
    loopback: Loopback, tiny: Path, tmp_path: Path
) -> None:
    """Four completions a rank and step: 32 students of the run are there at the fourth step."""

    def answer(asked: Asked) -> Any:
        path = asked.content("reasoning path")
        is_teacher = re.search(r"\d [-+*/] \d+ = ", path)  # the student writes gibberish
        return said(structure_of(path) if is_teacher else "I see no steps.")(asked)

    loopback.always("gsrm", answer)
    out = tmp_path / "run"
    env = environment(loopback, tmp_path / "cache")
    output = grpo(out, steps=12, ranks=2, code=1, env=env, use_cpu=True, **tiny_options(tiny))
    assert "students' paths have no structure" in output
    assert "'I see no steps.'" in output and "--reasoning-parser" in output
    traced = [row for rank in (0, 1) for row in read_rows(out / f"rlkd_trace_rank{rank}.jsonl")]
    assert 32 <= len(traced) <= 6 * 8  # equal paths of a step count once
    assert {row.student.reply for row in traced if not row.student.steps} >= {"I see no steps."}
