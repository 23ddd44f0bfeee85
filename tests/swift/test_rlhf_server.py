"""Real `swift rlhf` GRPO runs against a model server on loopback that checks every request."""

from pathlib import Path

from rlkd_plugin.engines.trace import read_rows, replay
from tests.support.loopback import GSRM, JUDGE, Loopback
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
