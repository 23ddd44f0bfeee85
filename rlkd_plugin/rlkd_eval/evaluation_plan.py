"""The options of an evaluation, kept as `plan.json` in its folder to resume it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.row_files import Row, raw_rows, row_files
from rlkd_plugin.rlkd_eval.benchmarks import Benchmark, benchmark
from rlkd_plugin.rlkd_eval.kept_files import PLAN, keep_plan, read_kept
from rlkd_plugin.rlkd_files import json_line, write_whole

LEVELS = ("1", "2", "3", "4", "5")


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn; the defaults are section 4.1's, after DeepSeek-R1's evaluation.

    Attributes:
        temperature: of sampling.
        top_p: of nucleus sampling.
        max_tokens: new tokens of a response.
        system: a system prompt, or nothing.
        limit: problems of each test set, the first ones; 0 for all.
        samples: m of each test set, by name; the paper's where it is not named.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 32768
    system: str = ""
    limit: int = 0
    samples: Mapping[str, int] | None = None

    def of(self, name: str) -> int:
        """Return m of a test set."""
        return (self.samples or {}).get(name, benchmark(name).samples)


@dataclass(frozen=True)
class Subject:
    """What is evaluated: a label for tables, the model, and where in a training it stands."""

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
        """Return the folder with a copy of a test set's problems, if it was given one."""
        return self.out / "problems" / name

    def samples(self, name: str) -> Path:
        """Return the file of a test set's samples."""
        return self.out / "samples" / f"{name}.jsonl"


@dataclass(frozen=True)
class _Plan:
    """The keys of a plan beside those of `Sampling`; `problems` are hashes by test set."""

    subject: Subject
    problems: Mapping[str, str]


def describe_subject(label: str, model: str, adapter: str, run: str) -> Subject:
    """Describe a model; a folder `checkpoint-120` of a training is its step 120."""
    folder = Path(adapter or model)
    folder = folder.resolve() if folder.exists() else folder
    step = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    if step and not run:
        run = folder.parent.parent.name if re.match(r"v\d+-", folder.parent.name) else ""
    name = f"{run or folder.parent.name}, step {step[1]}" if step else folder.name
    return Subject(label or name, model, adapter, run, int(step[1]) if step else None)


def prepare_evaluation(job: EvaluationJob, files: Mapping[str, Path]) -> None:
    """Begin an evaluation in its folder, or check that it can resume there.

    Args:
        job: the evaluation.
        files: local copies of test sets, by name.

    Raises:
        RlkdError: if another one has begun there, a test set is unknown, or a local copy cannot
            be read.
    """
    sampling = job.sampling
    for option, given in (("--data", files), ("--samples", sampling.samples or {})):
        if unknown := [name for name in given if name not in job.names]:
            raise RlkdError(f"{option} names {', '.join(unknown)}, which --sets does not")
    if sampling.limit < 0 or any(count < 1 for count in (sampling.samples or {}).values()):
        raise RlkdError("--limit has to be 0 or more, --samples 1 or more")
    copies = {
        name: _read_problems(benchmark(name), files.get(name), sampling.limit) for name in job.names
    }
    hashes = {name: blake2b(text, digest_size=8).hexdigest() for name, text in copies.items()}
    plan = {"subject": asdict(job.subject), **asdict(sampling), "problems": hashes}
    keep_plan(job.out, plan)
    for name, text in copies.items():
        if text:
            job.problems(name).mkdir(parents=True, exist_ok=True)
            write_whole(job.problems(name) / benchmark(name).file, text)


def resume_evaluation(out: Path) -> EvaluationJob:
    """Return the evaluation that was prepared in a folder.

    Raises:
        RlkdError: if none was.
    """
    plan = read_kept(out, PLAN, _Plan, "evaluation")
    sampling = read_kept(out, PLAN, Sampling, "evaluation")
    return EvaluationJob(out, plan.subject, sampling, list(plan.problems))


def _read_problems(bench: Benchmark, file: Path | None, limit: int) -> bytes:
    """Return the first problems of a local copy, or nothing where evalscope fetches them."""
    if file is None:
        return b""
    rows: list[Row] = []
    for place, row in raw_rows(row_files(file)):
        if limit and len(rows) == limit:
            break
        if isinstance(row, FormatError):
            raise RlkdError(f"{place}: {row}")
        if missing := [name for name in bench.needs if name not in row]:
            raise RlkdError(f"{place}: a problem of {bench.title} needs {', '.join(missing)}")
        if "level" in bench.needs and str(row["level"]) not in LEVELS:
            raise RlkdError(f"{place}: level {row['level']!r} is none of {', '.join(LEVELS)}")
        rows.append(row)
    if not rows:
        raise RlkdError(f"{file} holds no problem of {bench.title}")
    return b"".join(map(json_line, rows))
