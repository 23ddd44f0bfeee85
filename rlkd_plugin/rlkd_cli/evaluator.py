"""Evaluates one model for `rlkd eval`, and serves it if it is not served yet."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlkd_plugin.llm_io.model_server import ServedModel
from rlkd_plugin.llm_io.prompting import Prompting
from rlkd_plugin.llm_io.weight_fingerprint import weights_of
from rlkd_plugin.rlkd_cli.template_option import serve
from rlkd_plugin.rlkd_eval.evaluation import Server, evaluate_set
from rlkd_plugin.rlkd_eval.evaluation_plan import (
    EvaluationJob,
    Sampling,
    Subject,
    prepare_evaluation,
    resume_evaluation,
)
from rlkd_plugin.rlkd_eval.finished import is_evaluated
from rlkd_plugin.rlkd_eval.plans import claim_folder
from rlkd_plugin.rlkd_eval.run_models import RunModel


@dataclass(frozen=True)
class Evaluator:
    """Evaluates models with the options of a command.

    Attributes:
        sampling: how responses are drawn.
        names: names of the test sets.
        files: local copies of their problems, by name.
        prompting: how a server that is started here prompts its model.
        server_options: more options of this server, as on a command line.
        key_env: the variable with the key of a running server, or nothing.
        concurrency: requests in flight.
    """

    sampling: Sampling
    names: Sequence[str]
    files: Mapping[str, Path]
    prompting: Prompting
    server_options: str
    key_env: str
    concurrency: int

    def evaluate(self, out: Path, subject: Subject, running: ServedModel | None = None) -> None:
        """Evaluate a model, or resume its evaluation.

        Args:
            out: the folder of the evaluation.
            subject: the model.
            running: the server that serves it already; else it is served here.
        """
        with claim_folder(out):
            weights = {} if running else weights_of(subject.model, subject.adapter)
            job = self._prepare(out, subject, weights)
            self._draw(job, running)

    def evaluate_snapshot(self, out: Path, model: RunModel) -> bool:
        """Evaluate a model of a run; return False where that was done before."""
        subject = Subject(model.label, model.model, model.adapter, model.run, model.step)
        with claim_folder(out):
            job = self._prepare(out, subject, weights_of(model.model, model.adapter))
            if is_evaluated(job):
                return False
            self._draw(job)
        return True

    def _prepare(self, out: Path, subject: Subject, weights: Mapping[str, str]) -> EvaluationJob:
        job = EvaluationJob(out, subject, self.sampling, self.names)
        prepare_evaluation(job, self.files, weights)
        return job

    def _draw(self, job: EvaluationJob, running: ServedModel | None = None) -> None:
        with self._server(job, running) as server:
            target = Server(server.url, server.name, self.key_env)
            for name in job.names:
                evaluate_set(job, name, target, self.concurrency)

    @contextmanager
    def _server(self, job: EvaluationJob, running: ServedModel | None) -> Iterator[ServedModel]:
        if running:
            yield running
            return
        model, adapter, log = job.subject.model, job.subject.adapter, job.out / "server.log"
        with serve(model, adapter, self.server_options, log, self.prompting) as served:
            yield served


def score_again(out: Path, concurrency: int) -> None:
    """Score the saved responses of an evaluation again."""
    with claim_folder(out):
        job = resume_evaluation(out)
        for name in job.names:
            evaluate_set(job, name, None, concurrency)
