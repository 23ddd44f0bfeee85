"""Structure columns in ms-swift's table of completions: every row is of its completion."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from swift.rlhf_trainers import grpo_trainer
from swift.rlhf_trainers.gkd_trainer import GKDTrainer

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.engines.trace import Side, TraceRow
from rlkd_plugin.rlkd_eval.completion_tables import CompletionTable, completion_tables
from rlkd_plugin.rlkd_eval.cut_off_rewards import ends_of_table, read_ranks
from rlkd_plugin.swift_hooks.rewards import structure_columns
from rlkd_plugin.swift_hooks.rewards.structure_cells import COLUMNS, structure_cells
from tests.support.table_rows import (
    CELLS,
    EMPTY,
    EQUAL,
    FIRST,
    LONG,
    SECOND,
    SHORT,
    cells,
    check,
    completions,
    group,
)
from tests.support.table_trainer import Length, Structured, TableTrainer, Words


@pytest.fixture
def trainer(tmp_path: Path) -> TableTrainer:
    """A trainer with two rewards and a generation batch of four completions, which has begun."""
    trainer = TableTrainer(tmp_path, 4, [Length(), Structured()])
    trainer.begin()
    return trainer


def remarks(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "table of completions" in r.getMessage()]


# --- rows ---


def test_each_row_has_the_structure_of_its_completion(trainer: TableTrainer) -> None:
    trainer.draw(FIRST)
    table = trainer.table()
    check(table, FIRST)
    assert table["Length"] == [5, 4, 1, 5]
    assert {len(column) for column in table.values()} == {4}


def test_a_batch_of_several_steps_is_shown_at_each(trainer: TableTrainer) -> None:
    """ms-swift writes the table of the generation batch again, until the next is drawn."""
    trainer.draw(FIRST)
    first, again = trainer.table(), trainer.table()
    assert {**first, "step": again["step"]} == again
    trainer.draw(SECOND)
    check(trainer.table(), SECOND)


def test_several_batches_between_two_tables(trainer: TableTrainer) -> None:
    """`logging_steps` above 1: the table holds the last generation batch."""
    trainer.draw(FIRST)
    trainer.draw(SECOND)
    check(trainer.table(), SECOND)


def test_an_evaluation_with_a_smaller_batch(trainer: TableTrainer) -> None:
    """Its completions push the oldest of the training out, in all columns alike."""
    trainer.draw(FIRST)
    trainer.model.eval()
    trainer.draw(SECOND[:2])
    check(trainer.table(), FIRST[2:] + SECOND[:2])


def test_equal_completions_of_different_problems(trainer: TableTrainer) -> None:
    """The text of a completion does not tell its row."""
    drawn = group(LONG, "a b c", "a b c") + group(SHORT, "a b c", "a b c")
    trainer.draw(drawn)
    check(trainer.table(), drawn)


def test_only_completions_whose_entropy_is_known_are_shown(trainer: TableTrainer) -> None:
    """`log_entropy`: ms-swift cuts all columns to those that were trained on."""
    trainer.draw(FIRST)
    trainer.args.log_entropy = True
    trainer._logs["entropy"] = [0.1, 0.2, 0.3]
    check(trainer.table(), FIRST[:3])


def test_dynamic_sampling_drops_and_draws_again(tmp_path: Path) -> None:
    """A group with equal rewards is replaced by one that is drawn and scored later."""
    trainer = TableTrainer(tmp_path, 4, [Structured()], [EQUAL + SECOND[2:]])
    trainer.begin()
    trainer.draw(EQUAL + FIRST[:2])
    check(trainer.table(), FIRST[:2] + SECOND[2:])


def test_dynamic_sampling_without_success_takes_the_first_batch(tmp_path: Path) -> None:
    other = group(LONG, "a b~", "a b~")
    trainer = TableTrainer(tmp_path, 4, [Structured()], [other + EQUAL, other + EQUAL])
    trainer.begin()
    trainer.draw(EQUAL + other)
    check(trainer.table(), EQUAL + other)


# --- where rows cannot be matched ---


class Forgetful(Structured):
    """Hears no id of the first completion of a batch."""

    async def __call__(self, completions: Sequence[str], **columns: Any) -> list[float | None]:
        ids = [None, *columns.pop("request_id")[1:]]
        return await super().__call__(completions, request_id=ids, **columns)


class FirstWord(Words):
    """Reads no further."""

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        return await super().decompose(problem, domain, path.split()[0])


def test_a_batch_that_cannot_be_matched_has_empty_cells(
    trainer: TableTrainer, caplog: pytest.LogCaptureFixture
) -> None:
    """One completion without its structure is enough; the next batch is whole again."""
    trainer.draw(FIRST)
    trainer.reward_funcs[1] = Forgetful()
    trainer.draw(SECOND)
    trainer.draw(SECOND)
    assert cells(trainer.table()) == [EMPTY] * 4
    (remark,) = remarks(caplog)
    assert "1 of 4 completions cannot be matched" in remark
    trainer.reward_funcs[1] = Structured()
    trainer.draw(FIRST)
    check(trainer.table(), FIRST)


def test_batches_without_a_score_of_ours_have_empty_cells(trainer: TableTrainer) -> None:
    """Whether they come before the first score or after it."""
    trainer.reward_funcs[1] = Length()
    trainer.draw(FIRST)
    assert not set(COLUMNS) & trainer.table().keys()
    trainer.reward_funcs[1] = Structured()
    trainer.draw(SECOND[:2])
    table = trainer.table()
    assert completions(table) == FIRST[2:] + SECOND[:2]
    assert cells(table) == [EMPTY, EMPTY, *(CELLS[one] for one in SECOND[:2])]
    trainer.reward_funcs[1] = Length()
    trainer.draw(FIRST[:2])
    assert cells(trainer.table()) == [*(CELLS[one] for one in SECOND[:2]), EMPTY, EMPTY]


def test_two_scores_of_a_completion_that_differ(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two structure rewards: no column could say whose it is."""
    trainer = TableTrainer(tmp_path, 4, [Structured(), Structured(FirstWord())])
    trainer.begin()
    trainer.draw(FIRST)
    assert cells(trainer.table()) == [EMPTY] * 4
    assert "4 of 4 completions cannot be matched" in remarks(caplog)[0]


# --- where no table is made ---


def test_without_log_completions_nothing_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer is not touched, and no cell is made."""
    trainer = TableTrainer(tmp_path, 4, [Structured()], log_completions=False)
    trainer.begin()
    assert "_log_rollout" not in vars(trainer)
    monkeypatch.setattr(structure_columns, "structure_cells", pytest.fail)
    trainer.draw(FIRST)
    assert not set(COLUMNS) & trainer._logs.keys()


def test_a_table_without_the_structure_reward_is_left_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = TableTrainer(tmp_path, 4, [Length()])
    trainer.begin()
    trainer.draw(FIRST)
    table = trainer.table()
    assert list(table) == "step prompt completion Length advantages solution".split()
    assert not remarks(caplog)


def test_a_trainer_without_rewards_is_left_as_it_is() -> None:
    """GKD has a table of prompts and completions alone; SFT has none."""
    gkd = SimpleNamespace(log_completions=True, _logs={"prompt": [], "completion": []})
    assert structure_columns.add_structure_columns(gkd) is None
    assert structure_columns.add_structure_columns(SimpleNamespace()) is None
    assert hasattr(GKDTrainer, "_log_rollout") and not hasattr(gkd, "_log_rollout")


# --- trackers and readers ---


def test_wandb_gets_the_columns(trainer: TableTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[Any] = []
    wandb = SimpleNamespace(
        run=object(), Table=lambda dataframe: dataframe, log=lambda row: logged.append(row)
    )
    monkeypatch.setattr(grpo_trainer, "wandb", wandb, raising=False)
    trainer.draw(FIRST)
    trainer.args.report_to = ["wandb"]
    check(trainer.table(), FIRST)
    (frame,) = (row["completions"] for row in logged)
    assert frame[list(COLUMNS)].values.tolist() == [CELLS[one] for one in FIRST]


def test_swanlab_gets_the_columns(trainer: TableTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[Any] = []
    table = SimpleNamespace(add=lambda headers, rows: (headers, rows))
    swanlab = SimpleNamespace(
        echarts=SimpleNamespace(Table=lambda: table), log=lambda row: logged.append(row)
    )
    monkeypatch.setattr(grpo_trainer, "swanlab", swanlab, raising=False)
    monkeypatch.setattr(grpo_trainer, "swanlab_get_run", object)
    trainer.draw(FIRST)
    trainer.args.report_to = ["swanlab"]
    check(trainer.table(), FIRST)
    ((headers, rows),) = (row["completions"] for row in logged)
    places = [headers.index(name) for name in COLUMNS]
    assert [[row[place] for place in places] for row in rows] == [CELLS[one] for one in FIRST]


def test_rewards_of_the_table_are_read_as_before(trainer: TableTrainer) -> None:
    """`rlkd report` takes the rewards that the log names, and no other column."""
    folder = Path(trainer.args.output_dir)
    trainer.reward_funcs[1].scorer.output_dir = folder
    for step, drawn in enumerate([FIRST, SECOND]):
        trainer.state.global_step = step
        trainer.draw(drawn)
        trainer.state.global_step = step + 1
        trainer.table()
    found = list(completion_tables(folder / "completions.jsonl", ["Length", "Structured"], {1, 2}))
    tables = [table for table in found if isinstance(table, CompletionTable)]
    assert [table.rewards["Structured"] for table in tables] == [[3, 1.5, 0, 2], [1.5, 1, 0, 1]]
    ends = [ends_of_table(table, read_ranks(folder.glob("rlkd_trace_*"))) for table in tables]
    assert [(end or {})["Structured"].whole.total for end in ends] == [6.5, 3.5]


# --- cells ---

STEPS = (("plan", "question", "answer"),) * 2


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (TraceRow(teacher=Side(), student=Side(steps=STEPS)), "no_teacher"),
        (TraceRow(teacher=Side(steps=STEPS), student=Side("undecomposable")), "undecomposable"),
        (TraceRow(teacher=Side(steps=STEPS), student=Side("refused")), "refused"),
        (TraceRow(teacher=Side(steps=STEPS), student=Side(steps=STEPS)), "unclear"),
    ],
)
def test_a_completion_without_a_walk_says_why(row: TraceRow, why: str) -> None:
    counts = len(row.teacher.steps), len(row.student.steps)
    assert structure_cells(row) == (*counts, False, 0, "", why)


def test_a_structure_that_was_stopped_is_marked() -> None:
    """The number of the student's steps is the least that it has."""
    student = Side(steps=STEPS[:1], stopped_early=True, unfinished=("other plan",))
    row = TraceRow(teacher=Side(steps=STEPS), student=student, step_scores=(0.25, 0.0))
    assert structure_cells(row) == (2, 1, True, 1, "0.25 0", "meta_reasoning")


def test_a_column_holds_one_type() -> None:
    """Trackers infer the type of a column from its cells."""
    for column in zip(*CELLS.values(), strict=True):
        assert len({type(cell) for cell in column}) == 1


def test_no_column_is_one_of_ms_swifts(trainer: TableTrainer) -> None:
    """Rewards are named by classes, and reward models by the last part of a path."""
    assert all("/" in name for name in COLUMNS)
    assert not any("/" in name for name in trainer.reward_func_names)
