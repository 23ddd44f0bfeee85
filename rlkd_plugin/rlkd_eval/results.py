"""The schemas of `eval.json` and `diversity.json`.

Jobs write these classes, tables and report read them. A file of another version is read too:
unknown keys are skipped, absent ones have defaults. Impossible values are rejected: a share above
1, an unknown test set, a result without a number. The key of a user's own test set begins with
`own:`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_eval.benchmarks import BENCHMARKS, OWN, is_test_set
from rlkd_plugin.rlkd_eval.kept_files import read_kept
from rlkd_plugin.rlkd_eval.result_values import (
    Cosine,
    Count,
    Interval,
    Labelled,
    Measure,
    Place,
    Positive,
    Result,
    Score,
    Share,
)

EVALUATION = "eval.json"
DIVERSITY = "diversity.json"

FIXED_N = 16
"""The number N of responses at which D is computed for every step, as in section 4.3."""


@dataclass(frozen=True)
class PassAtK:
    """pass@k: as in the paper (`any` of the first k), and its unbiased estimate.

    `low` and `high` are the 95% interval of the estimate.
    """

    any: Share
    unbiased: Share
    low: Share
    high: Share

    def __post_init__(self) -> None:
        _ = self.estimate  # its interval is checked

    @property
    def estimate(self) -> Interval:
        """The unbiased estimate with its interval."""
        return Interval(self.unbiased, self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class SetResult:
    """A model's result on one test set; shares in [0, 1].

    Attributes:
        name: of the test set, for tables.
        problems: how many.
        samples: of each problem.
        cut_off: the share of responses that ended at their limit.
        pass_at_1: over all samples, with its interval over problems.
        pass_at_1_of_runs: by m, pass@1 over the first m samples.
        pass_at_k: by k, for k > 1.
        structure: the mean structure reward of the responses, in the reward's scale.
        depth: their mean matched depth, in steps of the teacher.
        beyond_teacher: the share of responses with more steps than the teacher.
    """

    name: str
    problems: Positive
    samples: Positive
    cut_off: Share = 0.0
    pass_at_1: Interval
    pass_at_1_of_runs: Mapping[Positive, Share] = field(default_factory=dict)
    pass_at_k: Mapping[Positive, PassAtK] = field(default_factory=dict)
    structure: Measure | None = None
    depth: Measure | None = None
    beyond_teacher: Interval | None = None

    def curve(self) -> list[tuple[int, Interval]]:
        """Return pass@k over k, with pass@1 first."""
        later = [(k, point.estimate) for k, point in sorted(self.pass_at_k.items()) if k > 1]
        return [(1, self.pass_at_1), *later]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Labelled):
    """One evaluated model, `eval.json`.

    Attributes:
        model: its folder or id.
        adapter: the folder of a LoRA for it, or nothing.
        run: the training that it is a checkpoint of, or None.
        step: of that training.
        settings: how responses were drawn, as `Sampling` has it.
        versions: of the packages that drew and scored.
        sets: the results, by our names of the test sets. A user's own set is named `own:NAME`;
            tables show the name in its result.
    """

    model: str = ""
    adapter: str = ""
    run: str | None = None
    step: Count | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    sets: Mapping[str, SetResult]

    def __post_init__(self) -> None:
        if not any(map(is_test_set, self.sets)):
            there = ", ".join(map(repr, self.sets)) or "none"
            raise ValueError(
                f"its test sets are {there}; at least one must be of {', '.join(BENCHMARKS)}, or "
                f"begin with {OWN}"
            )


@dataclass(frozen=True)
class DiversityStep:
    """The diversity score D of a step over questions (section 4.3), in two forms.

    Attributes:
        step: from 1 on.
        diversity: the mean of D over questions, the paper's plain form, which depends on how many
            responses have the step.
        questions: that have at least two responses with this step.
        responses: of these questions, with this step.
        cosine: the mean over questions of the mean cosine of two of their responses; None where a
            file lacks it. It does not depend on how many responses there are.
        cosine_error: its standard error over questions; None for one question.
    """

    step: Place
    diversity: Score
    questions: Count
    responses: Count
    cosine: Cosine | None = None
    cosine_error: Annotated[float, Meta(ge=0, le=2)] | None = None

    @property
    def fixed(self) -> float | None:
        """D at `FIXED_N` responses, sqrt(N / (1 + (N - 1) c)); `step_diversity` derives it.

        None where the file has no cosine, or one of at most -1 / (N - 1): that is no mean cosine of
        16 vectors, but the chance of a few.
        """
        if self.cosine is None:
            return None
        length = (1 + (FIXED_N - 1) * self.cosine) / FIXED_N
        return length**-0.5 if length > 0 else None

    @property
    def fixed_error(self) -> float | None:
        """The standard error of `fixed` over questions, |dD/dc| = D^3 (N - 1) / 2N times c's."""
        if self.fixed is None or self.cosine_error is None:
            return None
        return self.fixed**3 * (FIXED_N - 1) / (2 * FIXED_N) * self.cosine_error


@dataclass(frozen=True, kw_only=True)
class Diversity(Labelled):
    """How much a model's responses to a question differ, step by step, `diversity.json`.

    Attributes:
        samples: responses to each question.
        temperature: of sampling, None where a file lacks it.
        max_tokens: new tokens of a response.
        system: the system prompt, or nothing.
        count: questions asked for; 0 for all there are.
        seed: of the drawing of questions.
        embedding: the model that embedded the steps.
        questions: that were asked.
        asked: a digest of them; empty where a file lacks it.
        responses: that were drawn.
        cut_off: responses that ended at their limit; their steps count.
        clipped: responses whose paths were too long for the GSRM and lost their ends.
        cut: responses whose structures ended at the GSRM's token limit; their whole steps count.
        statuses: counts of the status of the responses' decompositions.
        steps: the result.
    """

    samples: Count = 0
    temperature: Annotated[float, Meta(ge=0)] | None = None
    max_tokens: Count = 0
    system: str = ""
    count: Count = 0
    seed: int = 0
    embedding: str = ""
    questions: Count = 0
    asked: str = ""
    responses: Count = 0
    cut_off: Count = 0
    clipped: Count = 0
    cut: Count = 0
    statuses: Mapping[str, Count] = field(default_factory=dict)
    steps: tuple[DiversityStep, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("it has no step")
        if len({step.step for step in self.steps}) < len(self.steps):
            raise ValueError("it has a step twice")
        if self.responses and max(self.cut_off, self.clipped, self.cut) > self.responses:
            raise ValueError("it counts more cut or clipped responses than it has responses")


def read_evaluation(folder: Path) -> Evaluation:
    """Read the result of an evaluation.

    Raises:
        RlkdError: if there is none, or it cannot be read.
    """
    return _read(folder, EVALUATION, Evaluation, "evaluation", "rlkd eval")


def read_diversity(folder: Path) -> Diversity:
    """Read the result of a measurement of diversity.

    Raises:
        RlkdError: if there is none, or it cannot be read.
    """
    return _read(folder, DIVERSITY, Diversity, "diversity", "rlkd diversity")


def _read(folder: Path, name: str, kind: type[Result], what: str, command: str) -> Result:
    try:
        return read_kept(folder, name, kind, what)
    except RlkdError as error:
        raise RlkdError(f"{error}; name a folder of `{command}`") from None
