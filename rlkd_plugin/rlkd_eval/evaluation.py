"""The job behind `rlkd eval`: evalscope draws and scores responses, pass@k is computed here.

ms-swift evaluates with evalscope; `swift eval` itself does not start with evalscope's current
version, so its Python API is called here. It keeps every response, and resumes a stopped
evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from rlkd_plugin import __version__
from rlkd_plugin.gsrm import EndpointError, RlkdError
from rlkd_plugin.llm_io.evalscope_model import evalscope_model
from rlkd_plugin.llm_io.evalscope_run import run_evalscope
from rlkd_plugin.llm_io.response_time import response_seconds
from rlkd_plugin.rlkd_eval.benchmarks import benchmark
from rlkd_plugin.rlkd_eval.eval_samples import (
    answer_part,
    check_responses,
    check_samples,
    keep_samples,
    repair,
    scores_of,
)
from rlkd_plugin.rlkd_eval.evaluation_plan import EvaluationJob
from rlkd_plugin.rlkd_eval.kept_files import write_json
from rlkd_plugin.rlkd_eval.results import EVALUATION, Evaluation

if TYPE_CHECKING:
    from evalscope import TaskConfig

RESPONSE_SECONDS = 7200.0
"""Minimum time-out of evalscope's client; its default of ten minutes is too short for 32,768 tokens
from a busy server. More tokens get more time."""


@dataclass(frozen=True)
class Server:
    """A server, with /v1, the model's name there, and the variable that holds its key."""

    url: str
    model: str
    key_env: str = ""


NO_SERVER = Server("http://127.0.0.1:9/v1", "nobody")
"""An address without a server, to score saved responses again."""


def evaluate_set(job: EvaluationJob, name: str, server: Server | None, concurrency: int) -> None:
    """Draw and score the samples of a test set that are missing, and write the scores.

    Args:
        job: an evaluation that was prepared.
        name: of the test set.
        server: writes the responses; None scores the saved ones again.
        concurrency: requests in flight.

    Raises:
        EndpointError: if the server fails, or rejects our requests.
        RlkdError: if evalscope is missing, or responses are missing and no server is given.
    """
    benchmark(name)  # the name may come from a plan that was edited
    work = job.work(name)
    if server is None and not (work / "predictions").is_dir():
        raise RlkdError(f"{work} has no responses to score: run without --rescore")
    check_samples(job.out / "samples", job.names, name)
    repair(work)
    check_responses(work)
    try:
        run_evalscope(_task(job, name, server, concurrency))
    except EndpointError as error:
        if server is None:
            raise RlkdError(f"responses of {name} are missing: run without --rescore") from error
        raise EndpointError(
            f"{error}; finished responses are kept: run the same command again to resume"
        ) from error
    keep_samples(work, job.samples(name), job.sampling.of(name))
    _write_result(job)


def _task(job: EvaluationJob, name: str, server: Server | None, concurrency: int) -> "TaskConfig":
    """Return evalscope's configuration of a test set."""
    try:
        from evalscope import TaskConfig
        from evalscope.api.metric import MetricSelector
    except ImportError as error:
        raise RlkdError(f"rlkd eval needs evalscope ({error}): pip install '.[eval]'") from None

    server = server or NO_SERVER
    bench, sampling, work = benchmark(name), job.sampling, job.work(name)
    copied = job.problems(name).is_dir()
    begun = (work / "predictions").is_dir()
    return TaskConfig(
        model=evalscope_model(server.url, server.model, server.key_env),
        model_id="model",  # the name of the folder of its responses
        eval_type="openai_api",
        api_url=server.url,
        datasets=[bench.evalscope],
        dataset_args={
            bench.evalscope: {
                **_set_options(job, name),
                "primary_metric": MetricSelector(name="accuracy", aggregation="mean"),
            }
        },
        repeats=sampling.of(name),
        limit=None if copied else sampling.limit or None,  # of MATH-500: a level's
        eval_batch_size=concurrency,
        generation_config={
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "retries": 0 if server is NO_SERVER else 5,
            "timeout": max(RESPONSE_SECONDS, response_seconds(sampling.max_tokens)),
        },
        work_dir=str(work),
        no_timestamp=True,
        use_cache=str(work) if begun else None,
        # otherwise a server at another port would be another evaluation; our plan identifies it
        rerun_review=begun,
    )


def _set_options(job: EvaluationJob, name: str) -> Mapping[str, Any]:
    """Return the options of evalscope's adapter for a test set."""
    bench, problems = benchmark(name), job.problems(name)
    options: dict[str, Any] = {
        **bench.options,
        "filters": {_answer_filter(): {}},  # an answer in the thinking does not count
    }
    if problems.is_dir():
        options |= {"local_path": str(problems), **bench.local}
    if job.sampling.template and bench.is_math:
        options["prompt_template"] = "{question}"  # as in training: the system prompt says the rest
    if job.sampling.system:
        options["system_prompt"] = job.sampling.system
    return options


@cache
def _answer_filter() -> str:
    """Register `answer_part` with evalscope as a filter of responses, and return its name."""
    from evalscope.api.filter import Filter
    from evalscope.api.registry import register_filter

    @register_filter("rlkd_answer_part")
    class AnswerPart(Filter):
        def apply(self, instance: list[str]) -> list[str]:
            return [answer_part(response) for response in instance]

    return "rlkd_answer_part"


def _write_result(job: EvaluationJob) -> None:
    """Compute all scores from the samples that were drawn, and write `eval.json`."""
    subject = job.subject
    files = sorted((job.out / "samples").glob("*.jsonl"))
    result = Evaluation(
        label=subject.label,
        model=subject.model,
        adapter=subject.adapter,
        run=subject.run or None,
        step=subject.step,
        settings=job.sampling.facts,
        versions={"rlkd_plugin": __version__, "evalscope": version("evalscope")},
        sets={file.stem: scores_of(file) for file in files},
    )
    write_json(job.out / EVALUATION, result)
