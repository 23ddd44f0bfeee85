"""The formats that `rlkd prepare NAME` and `--dataset rlkd/NAME` read, in one table."""

from dataclasses import dataclass, replace

from rlkd_plugin.rlkd_data.rows.hub_rows import (
    gsrm_sft_row,
    openr1_pairs_row,
    openr1_row,
    openr1_sft_row,
    openthoughts_row,
)
from rlkd_plugin.rlkd_data.rows.row_format import RowFunction, grpo_row, gsm8k_row, sft_row


@dataclass(frozen=True)
class Format:
    """Rows as their hub has them, and the function that makes ours.

    Attributes:
        make_row: from a row of the hub to ours.
        needs: the columns without which no row can be made.
        may_have: the others that the function reads.
        key: the column that names a row; duplicates of its values are dropped.
        hub_ids: of the data set, on ModelScope and on Hugging Face; empty: from a file alone.
        subset: of the data set on the hub.
    """

    make_row: RowFunction
    needs: tuple[str, ...]
    may_have: tuple[str, ...] = ()
    key: str | None = None
    hub_ids: tuple[str, str] = ("", "")
    subset: str = "default"

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        columns = self.needs + self.may_have
        return columns if self.key is None else (*columns, self.key)


_OPENR1 = Format(
    openr1_row,
    needs=("problem", "answer", "generations", "correctness_math_verify"),
    may_have=("is_reasoning_complete", "finish_reasons"),
    key="uuid",
    hub_ids=("open-r1/OpenR1-Math-220k", "open-r1/OpenR1-Math-220k"),
)
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
    ),
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
    ),
    "jsonl": _OWN,
    "jsonl-sft": replace(_OWN, make_row=sft_row),
}
