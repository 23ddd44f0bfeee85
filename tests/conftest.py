"""Fixtures that several test files share."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from rlkd_plugin.llm_io.ports import free_port
from tests.support.swift_run import THREADS

if TYPE_CHECKING:
    from tests.support.loopback import Loopback

SetOptions = Callable[..., None]

torch.set_num_threads(THREADS)
os.environ["OMP_NUM_THREADS"] = str(THREADS)  # of the processes that tests start


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away every variable that the plugin reads, and put `os.environ` itself back.

    datasets' `map` leaves a copy of it in its place. rich keeps the first one, and would then not
    see what a test sets.
    """
    monkeypatch.setattr(os, "environ", os.environ)
    for name in os.environ:
        if name.startswith("RLKD_") or name in ("RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def root_log_of_its_own() -> Iterator[None]:
    """Put the root logger back: evalscope's import gives it a handler on that moment's stderr.

    In a test that moment's stderr is a captured stream, which is closed after the test.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def port_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test a port for a process group, which ms-swift opens also for one rank."""
    monkeypatch.setenv("MASTER_PORT", str(free_port()))


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> SetOptions:
    """Return a function that sets options: `options(engine="rules")` sets RLKD_ENGINE."""

    def set_options(**values: Any) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"RLKD_{name.upper()}", str(value))

    return set_options


@pytest.fixture
def loopback() -> Iterator["Loopback"]:
    """Run a scripted model server; the test fails where a request to it was wrong."""
    from tests.support.loopback import Loopback  # the web framework, for the tests that need it

    with Loopback() as server:
        yield server
    assert server.complaints == []


@pytest.fixture
def servers(
    loopback: "Loopback", options: SetOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> "Loopback":
    """Run the scripted server and name it as GSRM and judge; retries come quickly."""
    from tenacity import wait_fixed

    from rlkd_plugin.llm_io import chat_client
    from tests.support.loopback import GSRM, JUDGE

    monkeypatch.setattr(chat_client, "BACK_OFF", wait_fixed(0.02))
    options(gsrm_base_url=loopback.url, gsrm_model=GSRM)
    options(judge_base_url=loopback.url, judge_model=JUDGE)
    options(cache_dir=tmp_path / "cache", patience=10, startup_patience=0.5, request_timeout=5)
    return loopback
