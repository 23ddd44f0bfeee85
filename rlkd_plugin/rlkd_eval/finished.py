"""Detects a job that has its whole result already, so that it is skipped."""

from collections.abc import Sequence

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.embedder import Embedder
from rlkd_plugin.rlkd_data.jobs.record import read_record, record_file
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_eval.diversity_plan import DiversityJob, questions_digest
from rlkd_plugin.rlkd_eval.evaluation_plan import EvaluationJob
from rlkd_plugin.rlkd_eval.results import read_diversity, read_evaluation


def is_evaluated(job: EvaluationJob) -> bool:
    """Return whether all test sets of a prepared evaluation are scored."""
    try:
        found = read_evaluation(job.out)
    except RlkdError:  # none yet, or one to be written again
        return False
    return all(name in found.sets and job.samples(name).is_file() for name in job.names)


def is_measured(
    job: DiversityJob, questions: Sequence[Row], engine: Engine, embedder: Embedder
) -> bool:
    """Return whether a folder holds the diversity of these questions, in both forms.

    The plan holds neither the questions nor the models that decompose and embed: all have to be the
    same for models that are measured in turn. The GSRM server itself is not asked.
    """
    try:
        found = read_diversity(job.out)
        made = read_record(record_file(job.structures))
    except RlkdError:
        return False
    return (
        found.asked == questions_digest(questions)
        and found.embedding == embedder.name
        and all(step.cosine is not None for step in found.steps)
        and made is not None
        and made.label_of(engine.facts) is not None
    )
