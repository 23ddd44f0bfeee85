"""Fixtures of the tests that run ms-swift's commands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.swift_run import WARM
from tools.stand_ins.hub_shapes import openr1
from tools.stand_ins.tiny_model import tiny_model


@pytest.fixture(scope="session", autouse=True)
def warm_runs() -> Iterator[None]:
    """End the process from which runs are forked, when the last test has ended."""
    yield
    WARM.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a random model of two layers."""
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny", [str(openr1(n)) for n in (1, 2)])
