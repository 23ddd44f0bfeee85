"""The options of a measurement of diversity, and its questions."""

import random
from dataclasses import dataclass
from pathlib import Path

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.rows.row_fields import domain_or_math, text_of
from rlkd_plugin.rlkd_data.rows.row_files import Row, raw_rows, row_files


@dataclass(frozen=True)
class Drawing:
    """How responses are drawn; the defaults are section 4.3's.

    Attributes:
        samples: responses to each question.
        temperature: of sampling.
        max_tokens: new tokens of a response.
        system: a system prompt, or nothing.
        count: questions, drawn with `seed` from those in the source; 0 for all.
        seed: of that draw.
    """

    samples: int = 16
    temperature: float = 0.8
    max_tokens: int = 32768
    system: str = ""
    count: int = 500
    seed: int = 42


@dataclass(frozen=True)
class DiversityJob:
    """A measurement of one model.

    Attributes:
        out: the folder of its files.
        source: of the questions: a file or a folder of rows.
        drawing: how responses are drawn.
        label: of the model, for tables.
    """

    out: Path
    source: Path
    drawing: Drawing
    label: str

    @property
    def responses(self) -> Path:
        """The file of the responses, a line each."""
        return self.out / "responses.jsonl"

    @property
    def structures(self) -> Path:
        """The file of the responses' structures, a line each."""
        return self.out / "structures.jsonl"


def read_questions(job: DiversityJob) -> list[Row]:
    """Return the questions, without duplicates: each with its `problem` and `domain`.

    Raises:
        RlkdError: if there are fewer than asked for.
    """
    found: dict[str, Row] = {}
    for _, row in raw_rows(row_files(job.source)):
        if isinstance(row, FormatError):
            continue
        try:
            problem = text_of(row, "problem" if "problem" in row else "question")
            domain = domain_or_math(row)
        except FormatError:
            continue
        found.setdefault(problem, {"problem": problem, "domain": domain})
    questions = list(found.values())
    count = job.drawing.count or len(questions)
    if not questions or len(questions) < count:
        raise RlkdError(f"{job.source} has {len(questions)} different questions, not {count}")
    return random.Random(job.drawing.seed).sample(questions, count)
