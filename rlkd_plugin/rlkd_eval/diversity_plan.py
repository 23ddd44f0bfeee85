"""The options of a measurement of diversity, and its questions."""

import logging
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.rlkd_data.jobs.account import Account
from rlkd_plugin.rlkd_data.rows.row_fields import domain_or_math, text_of
from rlkd_plugin.rlkd_data.rows.row_files import Row, raw_rows, row_files

logger = logging.getLogger(__name__)


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

    The other rows are counted in the log, if there are any.

    Raises:
        RlkdError: if there are fewer than `count`.
    """
    found: dict[str, Row] = {}
    read = 0
    refused: Counter[str] = Counter()
    for _, row in raw_rows(row_files(job.source)):
        read += 1
        try:
            question = _question(row)
        except FormatError as error:
            refused[str(error).partition(":")[0]] += 1
            continue
        found.setdefault(question["problem"], question)
    questions = list(found.values())
    duplicates = read - refused.total() - len(questions)
    parts = {"questions": len(questions), "duplicates": duplicates, "refused": refused.total()}
    account = Account(read, parts)
    if account.read > len(questions):
        reasons = "".join(f"; {number:,} x {why}" for why, number in refused.items())
        logger.warning("%s: %s%s", job.source, account.line(), reasons)
    count = job.drawing.count or len(questions)
    if not questions or len(questions) < count:
        raise RlkdError(
            f"{job.source} has {len(questions)} different questions, fewer than {count}; give a "
            "lower --count, or more rows"
        )
    return random.Random(job.drawing.seed).sample(questions, count)


def questions_digest(questions: Iterable[Row]) -> str:
    """Return a digest of questions, the same in any order."""
    texts = sorted(f"{row['problem']}\0{row['domain']}\0" for row in questions)
    return blake2b("".join(texts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _question(row: Row | FormatError) -> Row:
    """Return the problem and the domain of a row.

    Raises:
        FormatError: if it has none, or cannot be read.
    """
    if isinstance(row, FormatError):
        raise row
    problem = text_of(row, "problem" if "problem" in row else "question")
    return {"problem": problem, "domain": domain_or_math(row)}
