"""Whether a job whose plan is the same has left its whole result: then it is not begun again."""

from pathlib import Path

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_eval.evaluation_plan import EvaluationJob
from rlkd_plugin.rlkd_eval.results import read_diversity, read_evaluation


def is_evaluated(job: EvaluationJob) -> bool:
    """Return whether all test sets of a prepared evaluation are scored."""
    try:
        found = read_evaluation(job.out)
    except RlkdError:  # none yet, or one to write again
        return False
    return all(name in found.sets and job.samples(name).is_file() for name in job.names)


def is_measured(out: Path, embedding: str) -> bool:
    """Return whether a folder holds a diversity by this embedding model, in both forms."""
    try:
        found = read_diversity(out)
    except RlkdError:
        return False
    return found.embedding == embedding and all(step.cosine is not None for step in found.steps)
