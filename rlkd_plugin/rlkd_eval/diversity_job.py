"""The job behind `rlkd diversity`: responses, their structures, and how much their steps differ.

Three files in a folder, each appended to as results come, so that a job that was stopped goes on:
`responses.jsonl`, `structures.jsonl`, and at the end `diversity.json`.
"""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.gsrm import FormatError, RlkdError, Step
from rlkd_plugin.gsrm.texts import has_reasoning, reasoning_path
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.role_client import role_client
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_data.embedder import Embedder
from rlkd_plugin.rlkd_data.jobs.result_file import ResultFile, identity
from rlkd_plugin.rlkd_data.jobs.runner import run_job
from rlkd_plugin.rlkd_data.rows.row_fields import domain_or_math, text_of
from rlkd_plugin.rlkd_data.rows.row_files import Row, raw_rows, row_files
from rlkd_plugin.rlkd_eval.kept_files import read_json, replace
from rlkd_plugin.rlkd_eval.step_diversity import StepDiversity, by_step

RESULT = "diversity.json"
BATCH = 64
"""Texts in one request for embeddings."""


@dataclass(frozen=True)
class Drawing:
    """How responses are drawn; the defaults are section 4.3's.

    Attributes:
        samples: responses to each question.
        temperature: of sampling.
        max_tokens: new tokens of a response.
        system: a system prompt, or nothing.
        count: questions, drawn with `seed` from those there are; 0 for all.
        seed: of that draw.
    """

    samples: int = 16
    temperature: float = 0.8
    max_tokens: int = 32768
    system: str = ""
    count: int = 500
    seed: int = 42


@dataclass
class DiversityReport:
    """What the job did.

    Attributes:
        questions: that were asked.
        responses: that are there.
        cut_off: of them, at their length limit; they count by what they have.
        statuses: what became of their paths.
        steps: the result.
    """

    questions: int = 0
    responses: int = 0
    cut_off: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    steps: list[StepDiversity] = field(default_factory=list)


def questions_of(source: Path, drawing: Drawing) -> list[Row]:
    """Return the questions: `problem` and `domain` of different rows.

    Raises:
        RlkdError: if there are fewer than asked for.
    """
    found: dict[str, Row] = {}
    for _, row in raw_rows(row_files(source)):
        if isinstance(row, FormatError):
            continue
        try:
            problem = text_of(row, "problem" if "problem" in row else "question")
            domain = domain_or_math(row)
        except FormatError:
            continue
        found.setdefault(problem, {"problem": problem, "domain": domain})
    questions = list(found.values())
    count = drawing.count or len(questions)
    if not questions or len(questions) < count:
        raise RlkdError(f"{source} has {len(questions)} different questions, not {count}")
    return random.Random(drawing.seed).sample(questions, count)


def engine_name(settings: Settings) -> str:
    """Return who takes responses apart: two engines' structures do not go into one result."""
    return settings.gsrm_model if settings.engine == "server" else settings.engine


async def draw_all(out: Path, source: Path, drawing: Drawing, settings: Settings) -> None:
    """Draw the responses, in a folder that is there.

    Raises:
        EndpointError: if the servers fail for longer than the patience, or refuse us.
        RlkdError: if a setting is missing, or there are too few questions.
    """
    questions = questions_of(source, drawing)
    async with role_client("student", settings, instead=", or give --model") as client:
        await draw_responses(out, questions, drawing, client, settings.concurrency)


async def measure_all(
    out: Path,
    source: Path,
    drawing: Drawing,
    label: str,
    engine: Engine,
    embedder: Embedder,
    concurrency: int,
) -> DiversityReport:
    """Take the responses apart, embed their steps, and write how much they differ.

    Raises:
        EndpointError: if a server fails for longer than the patience, or refuses us.
        RlkdError: if a setting is missing, or there is nothing to compare.
    """
    async with engine:
        await take_apart(out, engine, concurrency)
    async with embedder:
        return await measure(out, questions_of(source, drawing), drawing, label, embedder)


async def draw_responses(
    out: Path, questions: Sequence[Row], drawing: Drawing, client: ChatClient, concurrency: int
) -> None:
    """Write every response that is not there yet.

    Raises:
        EndpointError: if the servers fail for longer than the patience, or refuse us.
    """
    with ResultFile(out / "responses.jsonl", "problem", "sample", "response") as file:
        done = file.done(_key)
        todo = (
            {**question, "sample": number}
            for number in range(drawing.samples)
            for question in questions
            if _key({**question, "sample": number}) not in done
        )

        async def work(item: Row) -> Row:
            messages = [{"role": "system", "content": drawing.system}] if drawing.system else []
            messages.append({"role": "user", "content": item["problem"]})
            reply = await client.complete(
                messages,
                temperature=drawing.temperature,
                max_tokens=drawing.max_tokens,
                may_be_empty=True,
            )
            cut_off = reply.finish_reason == "length"
            return {**item, "response": reply.text, "cut_off": cut_off}

        await run_job(todo, work, lambda _, row: file.append(row), concurrency)


async def take_apart(out: Path, engine: Engine, concurrency: int) -> None:
    """Write the structure of every response that has none yet.

    Raises:
        EndpointError: if the GSRM fails for longer than the patience, or refuses us.
    """
    with ResultFile(out / "structures.jsonl", "problem", "sample", "status") as file:
        done = file.done(_key)
        todo = (row for row in _rows(out / "responses.jsonl") if _key(row) not in done)

        async def work(row: Row) -> Row:
            path = reasoning_path(row["response"])
            item = {name: row[name] for name in ("problem", "domain", "sample")}
            if not has_reasoning(path):
                return {**item, "status": "undecomposable", "steps": []}
            result = await engine.decompose(row["problem"], row["domain"], path)
            steps = result.structure.steps if result.structure else ()
            return {**item, "status": result.status, "steps": [asdict(step) for step in steps]}

        await run_job(todo, work, lambda _, row: file.append(row), concurrency)


async def measure(
    out: Path, questions: Sequence[Row], drawing: Drawing, label: str, embedder: Embedder
) -> DiversityReport:
    """Embed all steps, and write how much they differ.

    Raises:
        EndpointError: if the embedding servers fail for longer than the patience, or refuse us.
        RlkdError: if no step of a question has two responses.
    """
    asked = {question["problem"]: place for place, question in enumerate(questions)}
    structures: list[list[list[str]]] = [[] for _ in questions]
    report = DiversityReport(questions=len(questions))
    for row in _rows(out / "structures.jsonl"):
        if row["problem"] in asked and row["sample"] < drawing.samples:
            report.statuses[row["status"]] += 1
            texts = [step_text(Step(**step)) for step in row["steps"]]
            structures[asked[row["problem"]]].append(texts)
    for row in _rows(out / "responses.jsonl"):
        if row["problem"] in asked and row["sample"] < drawing.samples:
            report.responses += 1
            report.cut_off += row["cut_off"]
    texts = list(dict.fromkeys(t for question in structures for one in question for t in one))
    vectors: dict[str, np.ndarray] = {}
    for begin in range(0, len(texts), BATCH):
        batch = texts[begin : begin + BATCH]
        found = np.asarray(await embedder.embed(batch), dtype=np.float32)
        vectors |= zip(batch, found, strict=True)
    try:
        report.steps = by_step(
            [[[vectors[text] for text in one] for one in question] for question in structures]
        )
    except ValueError as error:
        raise RlkdError(f"{out}: the embeddings by {embedder.name}: {error}") from None
    if not report.steps:
        raise RlkdError(f"{out}: no step has two responses: {dict(report.statuses)}")
    result = {
        "label": label,
        **asdict(drawing),
        "embedding": embedder.name,
        "questions": report.questions,
        "responses": report.responses,
        "cut_off": report.cut_off,
        "statuses": dict(report.statuses),
        "steps": [asdict(step) for step in report.steps],
    }
    replace(out / RESULT, json.dumps(result, indent=1, ensure_ascii=False))
    return report


def step_text(step: Step) -> str:
    """Return what is embedded of a step: meta-reasoning and solving, as in section 4.3."""
    return f"{step.meta_reasoning}\n{step.sub_problem}\n{step.answer}"


def read_result(folder: Path) -> Row:
    """Read what the job found.

    Raises:
        RlkdError: if there is nothing, or it cannot be read.
    """
    return read_json(folder, RESULT, "diversity")


def _key(row: Row) -> int:
    return identity(row["problem"], str(row["sample"]))


def _rows(file: Path) -> list[Row]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
