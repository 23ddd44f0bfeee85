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
from rlkd_plugin.gsrm import RlkdError, Step, Structure, StructuredReward
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.teacher_cache import DiskCache
from rlkd_plugin.rlkd_eval.check import Finding, check_engine
from rlkd_plugin.rlkd_eval.check.samples import PATHS
from rlkd_plugin.swift_hooks.engine_choice import choose_engine
from rlkd_plugin.swift_hooks.local import small_engine
from rlkd_plugin.swift_hooks.local.small_engine import (
    ADAPTER,
    MOST_CHARS,
    SmallEngine,
    drop_duplicates,
)
from tests.support.swift_run import grpo, rows, steps_logged, tiny_options
from tools.stand_ins.places import MODEL

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


SAME = f"So:\n{PLAIN}"
ELSEWHERE = "The cart weighs 4 - 3 = 1 kg. Nobody reads books."
MOST = 300
"""Characters of a path in these tests; only `LONG` has more."""
LONG = PLAIN + "\nHmm, let me see." * 20
ASKED = [(PROBLEM, path) for path in (PLAIN, SAME, THINKING, WRONG, ELSEWHERE, LONG)]
TOKENS = 180
"""Tokens of a structure, which two steps need: a batch waits for its longest."""


class Remembering(SmallEngine):
    """The small engine, which decomposes all of a list at once, and nothing twice."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.known: dict[tuple[str, str], Decomposition] = {}

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        if (problem, path) not in self.known:
            self.known[problem, path] = await super().decompose(problem, domain, path)
        return self.known[problem, path]


@pytest.fixture(scope="module")
def engine() -> Remembering:
    """The engine in float32, so that its texts turn on no CPU's bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_engine, "cpu_dtype", lambda: "float32")
        limits = {"gsrm_max_chars": MOST, "gsrm_max_tokens": TOKENS}
        made = Remembering(Settings(small_model=str(MODEL), **limits))

    async def decompose_all() -> None:
        asked = [*ASKED, (PATHS[0].problem, PATHS[0].path)]
        async with made:
            await asyncio.gather(*(made.decompose(problem, "math", p) for problem, p in asked))

    asyncio.run(decompose_all())
    return made


def score(engine: SmallEngine, *students: str) -> list[StructuredReward]:
    """Return the rewards of students' paths; all have a structure."""

    async def work() -> list[Score]:
        async with engine:
            samples = [Sample(student, PROBLEM, "math", PLAIN) for student in students]
            return await score_batch(samples, engine)

    rewards = [one.reward for one in asyncio.run(work())]
    assert all(reward is not None for reward in rewards)
    return [reward for reward in rewards if reward is not None]


def structure_of(engine: Remembering, path: str) -> Structure:
    """Return what a path became."""
    structure = engine.known[PROBLEM, path].structure
    assert structure is not None
    return structure


@pytest.mark.parametrize(
    ("path", "answers"),
    [(PLAIN, ["36", "41"]), (THINKING, ["36", "41"]), (WRONG, ["35", "40"])],
    ids=["plain", "detours", "mistakes"],
)
def test_paths_become_steps_detours_and_mistakes_as_they_are(
    engine: Remembering, path: str, answers: list[str]
) -> None:
    """The path's own values come in their order, right or wrong, and no value of a detour.

    Whether the model adds a step at the end turns on the last bit of a sum.
    """
    found = [step.answer for step in structure_of(engine, path).steps]
    assert found[: len(answers)] == answers
    assert "14" not in found


def test_a_step_that_is_said_again_counts_once() -> None:
    one, two, other = Step("p", "q", "1"), Step("r", "s", "2"), Step("t", "s", "3")
    said = Structure((one, two, other, replace(two, meta_reasoning="again"), one), "3")
    assert drop_duplicates(said) == Structure((one, two, other), "3")


def test_plans_give_no_result_away(engine: Remembering) -> None:
    for step in structure_of(engine, PLAIN).steps[:2]:
        assert step.answer not in step.meta_reasoning
        assert step.sub_problem.endswith("?")


def test_the_same_path_earns_all_and_a_wrong_one_less(engine: SmallEngine) -> None:
    same, wrong, elsewhere = score(engine, SAME, WRONG, ELSEWHERE)
    assert same.total >= 2.0
    assert wrong.total < same.total
    assert elsewhere.total < 1.0


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


def test_a_path_that_is_too_long_loses_its_end_and_is_counted(engine: Remembering) -> None:
    assert engine.known[PROBLEM, LONG].clipped and not engine.known[PROBLEM, PLAIN].clipped
    assert structure_of(engine, LONG).steps[0].answer == "36"
    prompt, _ = engine.decompose_request(PROBLEM, "math", LONG)
    assert prompt == engine.decompose_request(PROBLEM, "math", LONG[:MOST])[0]


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
    """Whether it finds two steps or a third one turns on the last bit; the check says how many."""

    async def findings() -> list[Finding]:
        return [finding async for finding in check_engine(engine)]

    structure, matching = asyncio.run(findings())
    assert structure.verdict in ("ok", "look")
    assert "steps of a two-step path: math" in structure.text
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


def test_grpo_trains_on_it(tiny: Path, tmp_path: Path) -> None:
    """The trace has the model's structures, and ms-swift logs its reward."""
    out = tmp_path / "run"
    teacher = {"problem": "What are 2 and 3?", "domain": "math", "teacher_reasoning": "2 + 3 = 5."}
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps({**teacher, "solution": "\\boxed{5}"}) + "\n")
    env = {
        "RLKD_ENGINE": "small",
        "RLKD_SMALL_MODEL": str(MODEL),
        "RLKD_GSRM_MAX_TOKENS": "80",  # one step is enough here, and a batch waits for its longest
        "RLKD_CACHE_DIR": str(tmp_path / "cache"),
    }
    options = {"dataset": f"rlkd/jsonl:{data}", "max_completion_length": 24, **tiny_options(tiny)}
    log = grpo(out, steps=1, env=env, **options)
    assert "RLKD_ENGINE=small is a small learned stand-in" in log
    (line,) = steps_logged(out)
    trace = rows(out / "rlkd_trace_rank0.jsonl")
    assert len(trace) == 4
    assert line["rlkd/structure_reward"] == pytest.approx(sum(r["reward"] for r in trace) / 4)
    assert {row["teacher"]["cut"] for row in trace} == {True}  # its steps so far are used
    assert line["rlkd/cut_teacher"] == 1 and not list((tmp_path / "cache").rglob("*.json"))
