"""The job behind `rlkd eval`: evalscope asks a server and scores, and we count pass@k.

evalscope is what ms-swift evaluates with; `swift eval` itself does not start with its current
version, so it is driven through its Python API here. It keeps every response, and goes on where it
was stopped.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlkd_plugin import __version__
from rlkd_plugin.gsrm import EndpointError, FormatError, RlkdError
from rlkd_plugin.llm_io.evalscope_run import run_evalscope
from rlkd_plugin.rlkd_data.rows.row_files import raw_rows, row_files
from rlkd_plugin.rlkd_eval.benchmarks import Benchmark, benchmark
from rlkd_plugin.rlkd_eval.eval_samples import keep_samples, repair, scores_of
from rlkd_plugin.rlkd_eval.kept_files import PLAN, keep_plan, read_json, replace
from rlkd_plugin.rlkd_files import json_line

RESULT = "eval.json"
LEVELS = ("1", "2", "3", "4", "5")
RESPONSE_SECONDS = 7200.0
"""For one response: 32,768 tokens among many others take long, and evalscope's client would give up
after ten minutes."""
NOBODY = "http://127.0.0.1:9/v1"
"""An address where nobody answers, for scoring again."""


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
class Server:
    """A server, with /v1, the model's name there, and the variable that holds its key."""

    url: str
    model: str
    key_env: str = ""


def subject_of(label: str, model: str, adapter: str, run: str) -> Subject:
    """Describe a model; a folder `checkpoint-120` of a training is its step 120."""
    folder = Path(adapter or model)
    folder = folder.resolve() if folder.exists() else folder
    step = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    if step and not run:
        run = folder.parent.parent.name if re.match(r"v\d+-", folder.parent.name) else ""
    name = f"{run or folder.parent.name}, step {step[1]}" if step else folder.name
    return Subject(label or name, model, adapter, run, int(step[1]) if step else None)


def prepare_evaluation(
    out: Path, subject: Subject, sampling: Sampling, names: Sequence[str], files: Mapping[str, Path]
) -> None:
    """Begin an evaluation in a folder, or see that it can go on there.

    Raises:
        RlkdError: if another one has begun there, a test set is unknown, or a local copy cannot
            be read.
    """
    for option, given in (("--data", files), ("--samples", sampling.samples or {})):
        if unknown := [name for name in given if name not in names]:
            raise RlkdError(f"{option} names {', '.join(unknown)}, which --sets does not")
    if sampling.limit < 0 or any(count < 1 for count in (sampling.samples or {}).values()):
        raise RlkdError("--limit has to be 0 or more, --samples 1 or more")
    problems = {name: _problems(benchmark(name), files.get(name), sampling.limit) for name in names}
    hashes = {name: blake2b(text, digest_size=8).hexdigest() for name, text in problems.items()}
    plan = {"subject": asdict(subject), **asdict(sampling), "problems": hashes}
    keep_plan(out, plan)
    for name, text in problems.items():
        if text:
            (out / "problems" / name).mkdir(parents=True, exist_ok=True)
            replace(out / "problems" / name / benchmark(name).file, text)


def begun_evaluation(out: Path) -> tuple[Subject, Sampling, list[str]]:
    """Return what an evaluation was prepared with: its model, its sampling, its test sets.

    Raises:
        RlkdError: if none has begun there.
    """
    plan = read_json(out, PLAN, "evaluation")
    subject, problems = plan.pop("subject"), plan.pop("problems")
    return Subject(**subject), Sampling(**plan), list(problems)


def evaluate_set(
    out: Path,
    name: str,
    subject: Subject,
    sampling: Sampling,
    server: Server | None,
    concurrency: int,
) -> None:
    """Draw and score all samples of a test set, as far as they are not there; write the scores.

    Args:
        out: a folder that was prepared.
        name: of the test set.
        subject: as it was prepared with.
        sampling: as it was prepared with.
        server: who writes the responses; None scores those that are there again.
        concurrency: requests in flight.

    Raises:
        EndpointError: if the server fails, or refuses us.
        RlkdError: if evalscope is missing, or responses are missing and no server is given.
    """
    work = out / "evalscope" / name
    if server is None and not (work / "predictions").is_dir():
        raise RlkdError(f"{work} holds no responses to score: run without --rescore")
    repair(work)
    try:
        run_evalscope(_task(out, name, sampling, server, concurrency))
    except EndpointError as error:
        if server is None:
            raise RlkdError(f"responses of {name} are missing: run without --rescore") from error
        raise EndpointError(f"{error}; what is there is kept, and the same goes on") from error
    keep_samples(work, out / "samples" / f"{name}.jsonl", sampling.of(name))
    _write_result(out, subject, sampling)


def _task(out: Path, name: str, sampling: Sampling, server: Server | None, concurrency: int) -> Any:
    """Return evalscope's configuration of a test set."""
    try:
        from evalscope import TaskConfig
        from evalscope.api.metric import MetricSelector
    except ImportError as error:
        raise RlkdError(f"rlkd eval needs evalscope ({error}): pip install '.[eval]'") from None

    bench = benchmark(name)
    work = out / "evalscope" / name
    options: dict[str, Any] = {
        **bench.options,
        "primary_metric": MetricSelector(name="accuracy", aggregation="mean"),
        "filters": {"remove_until": "</think>"},  # an answer in a draft is no answer
    }
    problems = out / "problems" / name
    if problems.is_dir():
        options |= {"local_path": str(problems), **bench.local}
    if sampling.system:
        options["system_prompt"] = sampling.system
    begun = (work / "predictions").is_dir()
    key = os.environ.get(server.key_env) if server and server.key_env else None
    return TaskConfig(
        model=server.model if server else "nobody",
        model_id="model",  # the name of the folder of its responses
        eval_type="openai_api",
        api_url=server.url if server else NOBODY,
        api_key=key or "EMPTY",
        datasets=[bench.evalscope],
        dataset_args={bench.evalscope: options},
        repeats=sampling.of(name),
        limit=None if problems.is_dir() else sampling.limit or None,  # of MATH-500: a level's
        eval_batch_size=concurrency,
        generation_config={
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "retries": 5 if server else 0,
            "timeout": RESPONSE_SECONDS,
        },
        work_dir=str(work),
        no_timestamp=True,
        use_cache=str(work) if begun else None,
        # else a server at another port would be another evaluation; ours is told by its plan
        rerun_review=begun,
    )


def _problems(bench: Benchmark, file: Path | None, limit: int) -> bytes:
    """Return the first problems of a local copy, or nothing: then evalscope fetches them."""
    if file is None:
        return b""
    rows: list[dict[str, Any]] = []
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


def _write_result(out: Path, subject: Subject, sampling: Sampling) -> None:
    """Compute all scores from the samples that are there, and write `eval.json`."""
    result = {
        "label": subject.label,
        "model": subject.model,
        "adapter": subject.adapter,
        "run": subject.run or None,
        "step": subject.step,
        "settings": asdict(sampling),
        "versions": {"rlkd_plugin": __version__, "evalscope": version("evalscope")},
        "sets": {file.stem: scores_of(file) for file in sorted((out / "samples").glob("*.jsonl"))},
    }
    replace(out / RESULT, json.dumps(result, indent=1, ensure_ascii=False))


def read_result(folder: Path) -> dict[str, Any]:
    """Read what an evaluation found.

    Raises:
        RlkdError: if there is none, or it cannot be read.
    """
    return read_json(folder, RESULT, "evaluation")
