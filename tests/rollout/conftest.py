"""Fixtures of the tests with a real rollout server: vLLM and ms-swift in one environment."""

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.rollout import VARIABLES, RolloutServer
from tests.support.swift_run import WARM
from tests.support.weights_log import HEAD
from tools.stand_ins.hub_shapes import openr1
from tools.stand_ins.tiny_model import tiny_student


def pytest_configure() -> None:
    """Put the stand-ins into every process that the tests start.

    Raises:
        pytest.UsageError: if vLLM is not there.
    """
    if find_spec("vllm") is None:
        raise pytest.UsageError("tests/rollout need vLLM's CPU build: make test-rollout")
    os.environ.update(VARIABLES)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what ran, a line a training."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    lines = [value for report in reports for name, value in report.user_properties if name == "ran"]
    if lines:
        terminalreporter.section("rollouts by vLLM")
        for line in (HEAD, *lines):
            terminalreporter.write_line("  ".join(map("{:<10}".format, line)))


@pytest.fixture(scope="session", autouse=True)
def warm_runs() -> Iterator[None]:
    """End the process from which runs are forked, when the last test has ended."""
    yield
    WARM.close()


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a random model of two layers that vLLM on a CPU takes."""
    folder = tmp_path_factory.mktemp("model") / "student"
    return tiny_student(folder, [str(openr1(n)) for n in (1, 2)])


@pytest.fixture(scope="session")
def full(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RolloutServer]:
    """Run `swift rollout` for full weights."""
    with RolloutServer(student, tmp_path_factory.mktemp("full")) as server:
        yield server
