"""The formats that `rlkd prepare NAME` and `--dataset rlkd/NAME` read, in one table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.rows.branches import BRANCHES, STRUCTURES, add_branches
from rlkd_plugin.rlkd_data.rows.hub_rows import (
    gsrm_sft_row,
    openr1_pairs_row,
    openr1_paths,
    openr1_row,
    openr1_sft_row,
    openthoughts_row,
)
from rlkd_plugin.rlkd_data.rows.row_format import RowFunction, grpo_row, gsm8k_row, sft_row
from rlkd_plugin.rlkd_data.rows.teacher_prompts import PROMPT, add_teacher_prompt


@dataclass(frozen=True)
class Format:
    """Rows as their hub has them, and the function that makes ours.

    Attributes:
        make_row: from a row of the hub to ours.
        needs: the required columns.
        may_have: the optional columns.
        passes: the optional columns that our row has only if the hub's row has a value.
        paths: all paths of the teacher for a row; None where a row has no more than one.
        has_teacher: whether our row has `messages` and `teacher_reasoning`.
        key: the column that names a row; duplicates of its values are dropped.
        hub_ids: of the data set, on ModelScope and on Hugging Face; empty: from a file alone.
        subset: of the data set on the hub.
    """

    make_row: RowFunction
    needs: tuple[str, ...]
    may_have: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    paths: Callable[[Mapping[str, Any]], list[str]] | None = None
    has_teacher: bool = True
    key: str | None = None
    hub_ids: tuple[str, str] = ("", "")
    subset: str = "default"

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        columns = self.needs + self.may_have
        return columns if self.key is None else (*columns, self.key)

    def with_branches(self, most: int) -> "Format":
        """Return the format with `teacher_branches`, where its rows may have several paths."""
        if self.paths is None or most == 1:
            return self
        return replace(self, make_row=partial(add_branches, self.make_row, self.paths, most))

    def with_teacher_prompt(self) -> "Format":
        """Return the format with `teacher_prompt`."""
        return replace(self, make_row=partial(add_teacher_prompt, self.make_row))


_OPENR1 = Format(
    openr1_row,
    needs=("problem", "answer", "generations", "correctness_math_verify"),
    may_have=("is_reasoning_complete", "finish_reasons"),
    paths=openr1_paths,
    key="uuid",
    hub_ids=("open-r1/OpenR1-Math-220k", "open-r1/OpenR1-Math-220k"),
)
_PASSED_COLUMNS = (BRANCHES, STRUCTURES, PROMPT)
_OWN = Format(
    grpo_row,
    needs=("problem",),
    may_have=(
        "messages",
        "solution",
        "answer",
        "domain",
        "teacher_reasoning",
        "teacher_structure",
        *_PASSED_COLUMNS,
    ),
    passes=_PASSED_COLUMNS,
)

FORMATS = {
    "gsm8k": Format(
        gsm8k_row,
        needs=("question", "answer"),
        hub_ids=("modelscope/gsm8k", "openai/gsm8k"),
        subset="main",
    ),
    "openr1-math": _OPENR1,
    "openr1-math-sft": replace(_OPENR1, make_row=openr1_sft_row),
    "openr1-math-pairs": replace(_OPENR1, make_row=openr1_pairs_row),
    "openthoughts": Format(
        openthoughts_row,
        needs=("problem", "deepseek_reasoning", "domain"),
        may_have=("ground_truth_solution", "deepseek_solution"),
        hub_ids=("open-thoughts/OpenThoughts-114k", "open-thoughts/OpenThoughts-114k"),
        subset="metadata",
    ),
    "gsrm-sft": Format(
        gsrm_sft_row,
        needs=("problem",),
        may_have=(
            "domain",
            "reasoning_path",
            "structure",
            "teacher_reasoning",
            "teacher_structure",
        ),
        has_teacher=False,
    ),
    "jsonl": _OWN,
    "jsonl-sft": replace(_OWN, make_row=sft_row),
}


def format_of(name: str, branches: int = 1, teacher_prompt: bool = False) -> Format:
    """Return a format by its name.

    Args:
        name: one of `FORMATS`.
        branches: maximum texts of `teacher_branches`; 1 for no such column.
        teacher_prompt: whether to make `teacher_prompt`.

    Raises:
        RlkdError: if there is no such format, or its rows cannot have such a column.
    """
    if name not in FORMATS:
        raise RlkdError(f"unknown format {name!r}; known: {', '.join(sorted(FORMATS))}")
    form = FORMATS[name]
    if branches > 1 and form.paths is None:
        able = ", ".join(known for known in sorted(FORMATS) if FORMATS[known].paths)
        raise RlkdError(
            f"--branches {branches}: rows of {name} have no more than one path of the teacher, or "
            f"bring teacher_branches themselves; use it with {able}"
        )
    if teacher_prompt and not form.has_teacher:
        raise RlkdError(f"--teacher-prompt: rows of {name} are not for RL; remove the option")
    form = form.with_branches(branches)
    return form.with_teacher_prompt() if teacher_prompt else form
