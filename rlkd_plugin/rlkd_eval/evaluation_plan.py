"""The options of an evaluation, kept as `plan.json` in its folder to resume it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.prompting import SERVING
from rlkd_plugin.rlkd_eval.benchmarks import benchmark
from rlkd_plugin.rlkd_eval.kept_files import PLAN
from rlkd_plugin.rlkd_eval.local_problems import read_problems
from rlkd_plugin.rlkd_eval.plans import Plan, keep_plan, read_plan
from rlkd_plugin.rlkd_eval.results import EVALUATION
from rlkd_plugin.rlkd_files import write_whole

WRITTEN = (EVALUATION, "samples", "problems", "evalscope", "server.log", SERVING)
"""Names that an evaluation writes into its folder, beside its plan."""

T = TypeVar("T")


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn; the defaults are section 4.1's, after DeepSeek-R1's evaluation.

    Attributes:
        temperature: of sampling.
        top_p: of nucleus sampling.
        max_tokens: new tokens of a response.
        system: a system prompt, or nothing.
        limit: problems of each test set, the first ones; 0 for all.
        samples: m by the name of a test set; the paper's for those not named.
        template: `rlkd_r1`, or empty for the model's own chat template.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 32768
    system: str = ""
    limit: int = 0
    samples: Mapping[str, int] | None = None
    template: str = ""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The settings; an empty template is omitted, as in earlier versions."""
        return {name: value for name, value in asdict(self).items() if name != "template" or value}

    def of(self, name: str) -> int:
        """Return m of a test set."""
        return (self.samples or {}).get(name, benchmark(name).samples)


@dataclass(frozen=True)
class Subject:
    """The evaluated model: its label for tables, its place, and its step of a training."""

    label: str
    model: str
    adapter: str = ""
    run: str = ""
    step: int | None = None


@dataclass(frozen=True)
class EvaluationJob:
    """An evaluation: its folder, its model, how responses are drawn, and its test sets."""

    out: Path
    subject: Subject
    sampling: Sampling
    names: Sequence[str]

    def work(self, name: str) -> Path:
        """Return evalscope's folder of a test set."""
        return self.out / "evalscope" / name

    def problems(self, name: str) -> Path:
        """Return the folder of the local copy of a test set's problems, if there is one."""
        return self.out / "problems" / name

    def samples(self, name: str) -> Path:
        """Return the file of a test set's samples."""
        return self.out / "samples" / f"{name}.jsonl"


@dataclass(frozen=True)
class _Facts:
    """The facts of a plan beside those of `Sampling`; `problems` are hashes by test set."""

    subject: Subject
    problems: Mapping[str, str]


def describe_subject(label: str, model: str, adapter: str, run: str, served: str = "") -> Subject:
    """Describe a model; a folder `checkpoint-120` of a training is its step 120.

    Args:
        label: for tables; by default the model's own name, or its run and step.
        model: its folder or id.
        adapter: the folder of a LoRA for it, or nothing.
        run: the training that it is a checkpoint of, or nothing.
        served: its name on a running server, often a path too; `model` is then the address.
    """
    folder = Path(adapter or served or model)
    folder = folder.resolve() if folder.exists() and not served else folder
    step = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    if step and not run:
        run = folder.parent.parent.name if re.match(r"v\d+-", folder.parent.name) else ""
    origin = run or folder.parent.name
    name = f"{origin}, step {step[1]}" if step and origin else served or folder.name
    return Subject(label or name, model, adapter, run, int(step[1]) if step else None)


def prepare_evaluation(
    job: EvaluationJob, files: Mapping[str, Path], weights: Mapping[str, Any] | None = None
) -> None:
    """Start an evaluation in its folder, or check that it can resume there.

    Args:
        job: the evaluation.
        files: local copies of test sets, by name.
        weights: identify the model's weights, as far as they are known.

    Raises:
        RlkdError: if the folder has another one, a test set is unknown, or a local copy cannot be
            read.
    """
    sampling = job.sampling
    for option, given in (("--data", files), ("--samples", sampling.samples or {})):
        if unknown := [name for name in given if name not in job.names]:
            raise RlkdError(f"{option} names {', '.join(unknown)}, which --sets does not name")
    if sampling.limit < 0 or any(count < 1 for count in (sampling.samples or {}).values()):
        raise RlkdError("--limit must be 0 or more, and --samples 1 or more")
    copies = {
        # evalscope downloads a set without a copy
        name: read_problems(benchmark(name), files[name], sampling.limit) if name in files else b""
        for name in job.names
    }
    hashes = {name: blake2b(text, digest_size=8).hexdigest() for name, text in copies.items()}
    plan = {
        "subject": asdict(job.subject),
        **sampling.facts,
        "problems": hashes,
        **(weights or {}),
    }
    _check_label(job)
    keep_plan(job.out, Plan("rlkd eval", plan), WRITTEN)
    for name, text in copies.items():
        if text:
            job.problems(name).mkdir(parents=True, exist_ok=True)
            write_whole(job.problems(name) / benchmark(name).file, text)


def _check_label(job: EvaluationJob) -> None:
    """Check that the evaluation in the folder does not differ in its label alone.

    Raises:
        RlkdError: if it does.
    """
    if plan := read_plan(job.out):
        before, now = _facts(job.out, plan, _Facts).subject, job.subject
        if before.label != now.label and replace(before, label=now.label) == now:
            raise RlkdError(
                f"{job.out} has the label {before.label!r}, not {now.label!r}: resume it with "
                f"--label {shlex.quote(before.label)}, or name a new folder"
            )


def resume_evaluation(out: Path) -> EvaluationJob:
    """Return the evaluation that was prepared in a folder.

    Raises:
        RlkdError: if there is none.
    """
    plan = read_plan(out)
    if plan is None:
        raise RlkdError(f"{out} has no evaluation ({PLAN}); name a folder of `rlkd eval`")
    facts = _facts(out, plan, _Facts)
    return EvaluationJob(out, facts.subject, _facts(out, plan, Sampling), list(facts.problems))


def _facts(out: Path, plan: Plan, kind: type[T]) -> T:
    """Return facts of a plan as their class.

    Raises:
        RlkdError: if they are of another job.
    """
    try:
        return msgspec.convert(plan.facts, kind)
    except msgspec.ValidationError as error:
        raise RlkdError(f"{out} has no evaluation ({PLAN}: {error}): name a new folder") from None
