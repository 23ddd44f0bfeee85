"""Time-outs of collective operations that are shorter than a reward may take."""

from types import SimpleNamespace

import pytest
import torch.distributed as dist

from rlkd_plugin.swift_hooks.rewards.waiting_ranks import waiting_ranks_warnings


@pytest.fixture(autouse=True)
def two_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("HCCL_EXEC_TIMEOUT", raising=False)


def warnings(ddp_timeout: float | None = None, longest: float = 900) -> list[str]:
    """What is said for a time-out of ms-swift's arguments."""
    return waiting_ranks_warnings(SimpleNamespace(ddp_timeout=ddp_timeout), longest)


def test_ms_swifts_own_time_out_is_long_enough() -> None:
    assert warnings(18_000_000) == []


def test_a_shorter_one_is_named_with_both_numbers() -> None:
    (said,) = warnings(600)
    assert "--ddp_timeout is 600 s" in said and "for 900 s" in said and "RLKD_PATIENCE" in said


def test_one_rank_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert warnings(600) == []


def test_other_callers_have_no_time_out() -> None:
    assert waiting_ranks_warnings(None, 900) == []


@pytest.mark.parametrize(
    ("value", "longest", "named"),
    [
        (None, 900, False),
        (None, 1900, True),
        ("600", 900, True),
        ("0", 900, False),
        ("x", 9, False),
    ],
)
def test_hccl_has_a_time_out_of_its_own(
    value: str | None, longest: float, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend", lambda: "hccl")
    if value is not None:
        monkeypatch.setenv("HCCL_EXEC_TIMEOUT", value)
    assert any("HCCL_EXEC_TIMEOUT" in said for said in warnings(18_000_000, longest)) == named
