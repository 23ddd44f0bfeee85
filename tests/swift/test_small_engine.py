"""`RLKD_ENGINE=small`: the adapter that ships, in the real small model."""

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.gsrm import RlkdError, Step, Structure
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.teacher_cache import DiskCache
from rlkd_plugin.rlkd_eval.check import Finding, check_engine
from rlkd_plugin.swift_hooks.engine_choice import choose_engine
from rlkd_plugin.swift_hooks.local import small_engine
from rlkd_plugin.swift_hooks.local.small_engine import (
    ADAPTER,
    MOST_CHARS,
    SmallEngine,
    drop_duplicates,
)
from tests.support.swift_run import MODEL, grpo, rows, steps_logged

PROBLEM = (
    "A library cart has 4 shelves with 9 books on each shelf. A teacher puts 5 more books on the "
    "cart. How many books are on the cart now?"
)
PLAIN = "The shelves hold 4 * 9 = 36 books at first.\nWith the new books, that is 36 + 5 = 41."
THINKING = (
    "Okay, let me see. The shelves hold 4 * 9 = 36 books. Let me check: 4 * 9 = 36. Yes. Hmm. "
    "Maybe I should add 9 + 5 = 14? No, that is not needed here. With the new books, the cart "
    "holds 36 + 5 = 41 books. That makes sense."
)
WRONG = "The shelves hold 4 * 9 = 35 books.\nWith the new books there are 35 + 5 = 40 books."


@pytest.fixture(scope="module")
def engine() -> SmallEngine:
    return SmallEngine(Settings(small_model=str(MODEL)))


def taken_apart(engine: SmallEngine, *paths: str) -> list[Decomposition]:
    async def work() -> list[Decomposition]:
        async with engine:
            asked = (engine.decompose(PROBLEM, "math", path) for path in paths)
            return list(await asyncio.gather(*asked))

    return asyncio.run(work())


def scores(engine: SmallEngine, *students: str) -> list[Score]:
    async def work() -> list[Score]:
        async with engine:
            samples = [Sample(student, PROBLEM, "math", PLAIN) for student in students]
            return await score_batch(samples, engine)

    return asyncio.run(work())


@pytest.fixture(scope="module")
def found(engine: SmallEngine) -> dict[str, Structure]:
    """The structures of the three paths, asked at once."""
    paths = (PLAIN, THINKING, WRONG)
    return {p: one.structure for p, one in zip(paths, taken_apart(engine, *paths), strict=True)}


@pytest.mark.parametrize(
    ("path", "answers"),
    [(PLAIN, ["36", "41"]), (THINKING, ["36", "41"]), (WRONG, ["35", "40"])],
    ids=["plain", "detours", "mistakes"],
)
def test_paths_become_steps_detours_and_mistakes_as_they_are(
    found: dict[str, Structure], path: str, answers: list[str]
) -> None:
    assert [step.answer for step in found[path].steps] == answers
    assert found[path].final_answer == answers[-1]


def test_a_step_that_is_said_again_counts_once() -> None:
    one, two, other = Step("p", "q", "1"), Step("r", "s", "2"), Step("t", "s", "3")
    said = Structure((one, two, other, replace(two, meta_reasoning="again"), one), "3")
    assert drop_duplicates(said) == Structure((one, two, other), "3")


def test_plans_give_no_result_away(found: dict[str, Structure]) -> None:
    for step in found[PLAIN].steps:
        assert step.answer not in step.meta_reasoning
        assert step.sub_problem.endswith("?")


def test_the_same_path_earns_all_and_a_wrong_one_less(engine: SmallEngine) -> None:
    same, wrong, else_where = scores(
        engine, f"So:\n{PLAIN}", WRONG, "The cart weighs 4 - 3 = 1 kg. Nobody reads books."
    )
    assert same.reward.total == 2.0
    assert wrong.reward.total < same.reward.total
    assert else_where.reward.total < 1.0


def test_the_engine_of_the_setting_is_this_one(tmp_path: Path) -> None:
    settings = Settings(engine="small", small_model=str(MODEL), cache_dir=tmp_path)
    chosen, cache = choose_engine(settings)
    assert isinstance(chosen, SmallEngine) and isinstance(cache, DiskCache)
    assert cache.identity == chosen.identity


def test_another_adapter_has_other_cache_entries(engine: SmallEngine, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(ADAPTER, adapter)
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    config["lora_alpha"] *= 2
    (adapter / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    other = SmallEngine(Settings(small_model=str(MODEL)), adapter)
    assert other.identity != engine.identity


def test_settings_of_other_models_do_not_disturb_it() -> None:
    settings = Settings(small_model=str(MODEL), gsrm_prompt="construct", gsrm_regex=True)
    used = SmallEngine(settings).settings
    assert (used.gsrm_prompt, used.gsrm_regex) == ("gsrm", False)
    assert used.gsrm_max_chars == MOST_CHARS


def test_a_path_that_is_too_long_loses_its_end_and_is_counted(engine: SmallEngine) -> None:
    (found,) = taken_apart(engine, PLAIN + "\nHmm, let me see." * 500)
    assert found.clipped and found.structure.steps[0].answer == "36"


def test_a_base_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RlkdError, match=r"RLKD_SMALL_MODEL='.*none'.*make setup"):
        SmallEngine(Settings(small_model=str(tmp_path / "none")))


@pytest.mark.parametrize("sharded", ["is_deepspeed_zero3_enabled", "is_fsdp_enabled"])
def test_zero3_and_fsdp_are_refused(sharded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_engine, sharded, lambda: True)
    with pytest.raises(RlkdError, match="zero2"):
        SmallEngine(Settings(small_model=str(MODEL)))


def test_an_adapter_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(RlkdError, match=r"the adapter .*nothing does not fit"):
        SmallEngine(Settings(small_model=str(MODEL)), tmp_path / "nothing")


def test_a_damaged_adapter_is_named(tmp_path: Path) -> None:
    shutil.copytree(ADAPTER, tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"half a file")
    with pytest.raises(RlkdError, match=r"the adapter .* does not fit"):
        SmallEngine(Settings(small_model=str(MODEL)), tmp_path / "adapter")


def test_the_check_names_its_matching_and_finds_a_structure(engine: SmallEngine) -> None:
    """It gives the check's path of two steps a third one, which the check points out."""

    async def findings() -> list[Finding]:
        return [finding async for finding in check_engine(engine)]

    structure, matching = asyncio.run(findings())
    assert structure.verdict in ("ok", "look") and "a two-step path has" in structure.text
    assert matching.verdict == "ok" and "without a judge" in matching.text


def test_the_adapter_is_small_and_names_no_machine() -> None:
    config = json.loads((ADAPTER / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert not [value for value in config.values() if str(value).startswith("/")]
    with safe_open(ADAPTER / "adapter_model.safetensors", "pt") as weights:
        kinds = {weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118
    assert kinds == {"BF16"}
    assert (ADAPTER / "adapter_model.safetensors").stat().st_size < 12e6


def test_the_card_says_what_a_user_has_to_know() -> None:
    card = (ADAPTER / "README.md").read_text("utf-8")
    for word in ("MIT", "Apache-2.0", "make small-gsrm", "GSM8K", "## Limits", "## Figures"):
        assert word in card


def test_grpo_trains_on_it(tmp_path: Path) -> None:
    """The trace has the model's structures, and ms-swift logs its reward."""
    out = tmp_path / "run"
    log = grpo(
        "rlkd_plugin/register.py",
        out,
        steps=1,
        RLKD_ENGINE="small",
        RLKD_SMALL_MODEL=str(MODEL),
        RLKD_GSRM_MAX_TOKENS="160",  # two steps are enough here, and a batch waits for its longest
        RLKD_CACHE_DIR=str(tmp_path / "cache"),
    )
    assert "RLKD_ENGINE=small is a small learned stand-in" in log
    (line,) = steps_logged(out)
    trace = rows(out / "rlkd_trace_rank0.jsonl")
    assert len(trace) == 4
    assert line["rlkd/structure_reward"] == pytest.approx(sum(r["reward"] for r in trace) / 4)
    assert list((tmp_path / "cache").rglob("*.json"))  # the teacher's structure
