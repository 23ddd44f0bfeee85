"""The engine of the training process, with a tiny model that really answers."""

import asyncio
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from swift.infer_engine import RequestConfig
from swift.model import get_model_processor
from swift.template import get_template

from rlkd_plugin.engines.base import usage_of_batch
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.gsrm import parse_structure
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.swift_hooks.local.local_engine import LocalEngine
from rlkd_plugin.swift_hooks.rewards import metrics
from rlkd_plugin.swift_hooks.rewards.reward_model import RlkdGsrmModel
from tests.conftest import SetOptions
from tests.support.memorised import ANSWERS, BOTTLES, PENS, PROSE, STRUCTURES
from tools.stand_ins.tiny_model import memorising_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder."""
    return memorising_model(tmp_path_factory.mktemp("models") / "tiny", ANSWERS)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> tuple[torch.nn.Module, Any]:
    """The model and its template, as ms-swift's trainer hands them over."""
    model, processor = get_model_processor(
        str(folder), model_type="qwen2", torch_dtype=torch.float32
    )
    template = get_template(processor, template_type="chatml")
    template.set_mode("train")
    return model.eval(), template


class Counted:
    """The batches that an engine ran: how many requests, and the most tokens."""

    def __init__(self, engine: LocalEngine) -> None:
        self.batches: list[tuple[int, int]] = []
        infer = engine.engine.infer

        def counted(requests: Any, config: Any, **options: Any) -> Any:
            self.batches.append((len(requests), config.max_tokens))
            return infer(requests, config, **options)

        engine.engine.infer = counted


def scored(engine: LocalEngine, *pairs: tuple[str, str]) -> list[Score]:
    """Score pairs of a teacher's and a student's path."""

    async def work() -> list[Score]:
        async with engine:
            samples = [Sample(student, "P", "math", teacher) for teacher, student in pairs]
            return await score_batch(samples, engine)

    return asyncio.run(work())


PAIRS = (PENS, PENS), (BOTTLES, BOTTLES), (PENS, BOTTLES), (BOTTLES, PENS), (PENS, PROSE)


def test_paths_become_the_models_structures(loaded: Any) -> None:
    scores = scored(LocalEngine(Settings(), *loaded), *PAIRS)
    for (teacher, student), score in zip(PAIRS, scores, strict=True):
        assert score.teacher.structure == parse_structure(STRUCTURES[teacher])
        if student != PROSE:
            assert score.student.structure == parse_structure(STRUCTURES[student])
    assert scores[4].student.status == "undecomposable"
    assert [s.reward.total for s in scores[:2] if s.reward] == [1.0, 2.0]


def test_verdicts_are_read_from_log_probabilities(loaded: Any) -> None:
    scores = scored(LocalEngine(Settings(), *loaded), (PENS, BOTTLES))
    sources = {verdict.source for _, verdict in scores[0].verdicts}
    assert sources == {"logprob"}
    assert all(verdict.probability > 0.9 for _, verdict in scores[0].verdicts)


def test_what_can_go_together_does(loaded: Any) -> None:
    """All paths in one batch, then each round of verdicts in one."""
    engine = LocalEngine(Settings(), *loaded)
    counted = Counted(engine)
    scored(engine, *PAIRS)
    decompositions = [n for n, tokens in counted.batches if tokens > 100]
    assert decompositions == [3, 1]  # three different paths; prose is asked for once more
    assert max(n for n, tokens in counted.batches if tokens == 1) >= 2
    assert engine.usage.requests == sum(n for n, _ in counted.batches)
    assert engine.usage.prompt_tokens > 1000 and engine.usage.completion_tokens > 50


def test_the_size_of_a_batch_changes_nothing_but_the_number_of_batches(loaded: Any) -> None:
    one = LocalEngine(Settings(local_batch=1), *loaded)
    many = LocalEngine(Settings(), *loaded)
    counted = Counted(one)
    assert [(s.reward, s.student) for s in scored(one, *PAIRS)] == [
        (s.reward, s.student) for s in scored(many, *PAIRS)
    ]
    assert {n for n, _ in counted.batches} == {1}


def test_an_engine_can_be_entered_again_and_pickled_between(loaded: Any) -> None:
    engine = LocalEngine(Settings(), *loaded)
    first = scored(engine, (PENS, PENS))
    assert [s.reward for s in scored(engine, (PENS, PENS))] == [s.reward for s in first]
    assert not {"_waiting", "_free"} & engine.__getstate__().keys()
    assert pickle.dumps(engine.settings)


def test_an_error_of_the_model_ends_the_batch(loaded: Any) -> None:
    """And leaves nobody waiting."""
    engine = LocalEngine(Settings(), *loaded)

    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("out of memory")

    engine.engine.infer = broken
    with pytest.raises(RuntimeError, match="out of memory"):
        asyncio.run(asyncio.wait_for(_work(engine), 20))


async def _work(engine: LocalEngine) -> None:
    async with engine:
        await engine.decompose("P", "math", PENS)


def test_a_text_that_cannot_be_encoded_is_refused(loaded: Any) -> None:
    engine = LocalEngine(Settings(), *loaded)
    engine.engine.infer = lambda requests, *args, **options: [ValueError("odd")] * len(requests)

    async def work() -> Any:
        async with engine:
            return await engine.decompose("P", "math", PENS), await engine.match("answer", "a", "b")

    structure, verdict = asyncio.run(work())
    assert (structure.status, verdict.source, verdict.matched) == ("refused", "refused", False)


@pytest.fixture
def plugin(loaded: Any, options: SetOptions, tmp_path: Path) -> Iterator[RlkdGsrmModel]:
    """The reward-model plugin."""
    options(trace_dir=str(tmp_path), cache_dir=str(tmp_path / "cache"))
    yield RlkdGsrmModel(model=loaded[0], template=loaded[1])


def test_the_plugin_is_called_as_ms_swift_calls_it(
    plugin: RlkdGsrmModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_trainer", None)
    completions = [f"<think>{path}</think>" for path in (BOTTLES, PENS, PROSE)]
    rows = [
        {"messages": [{"role": "user", "content": "P"}, {"role": "assistant", "content": text}]}
        for text in completions
    ]
    columns = {
        "problem": ["P"] * 3,
        "domain": ["math"] * 3,
        "teacher_reasoning": [BOTTLES] * 3,
        "is_truncated": [False] * 3,
        "trainer_state": None,
        "prompt_id": ["1"] * 3,
    }
    rewards = plugin(inputs=rows, **columns)
    assert rewards[0] == 2.0 and rewards[2] == 0.0
    assert (tmp_path / "rlkd_trace_rank0.jsonl").read_text().count("\n") == 3
    (entry,) = (tmp_path / "cache").rglob("*.json")
    assert "Rows times bottles." in entry.read_text()


def test_a_run_gives_the_plugin_its_folder(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = RlkdGsrmModel(*loaded)
    assert plugin.scorer.trace is None
    run = tmp_path / "run"
    monkeypatch.setattr("rlkd_plugin.swift_hooks.rewards.reward_model.run_folder", lambda: run)
    assert plugin(inputs=[], problem=[], domain=[], teacher_reasoning=[]) == []
    assert plugin.scorer.trace == run / "rlkd_trace_rank0.jsonl"


def test_batches_of_several_threads_take_turns(loaded: Any) -> None:
    """Each gets its own scores, and what it used itself."""
    engine = LocalEngine(Settings(), *loaded)
    alone = scored(engine, *PAIRS[:2])

    def work(_: int) -> tuple[list[Score], int]:
        with usage_of_batch() as usage:
            return scored(engine, *PAIRS[:2]), usage.requests

    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(work, range(3)))
    assert [[s.reward for s in scores] for scores, _ in found] == [[s.reward for s in alone]] * 3
    assert {requests for _, requests in found} == {engine.usage.requests}


def test_what_the_model_says_of_sampling_changes_nothing(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repetition penalty would act on tags and digits, a top_k of 1 make every retry the same."""
    as_ever = scored(LocalEngine(Settings(), *loaded), *PAIRS)
    told = {"repetition_penalty": 1.9, "top_k": 1, "top_p": 0.1, "no_repeat_ngram_size": 2}
    for option, value in told.items():
        monkeypatch.setattr(loaded[0].generation_config, option, value)
    engine = LocalEngine(Settings(), *loaded)
    # PROSE is asked for again with sampling: what comes is chance, but for its status
    assert [s.student.structure for s in scored(engine, *PAIRS[:4])] == [
        s.student.structure for s in as_ever[:4]
    ]
    sampled = engine.engine._prepare_generation_config(RequestConfig(max_tokens=1, temperature=0.7))
    assert (sampled.temperature, sampled.top_k, sampled.top_p) == (0.7, 0, 1.0)
    assert (sampled.repetition_penalty, sampled.no_repeat_ngram_size) == (1.0, 0)
