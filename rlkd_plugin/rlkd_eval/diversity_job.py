"""The job behind `rlkd diversity`: responses, their structures, and how much their steps differ.

Three files in a folder: `responses.jsonl` and `structures.jsonl`, appended to as results come, so
that a stopped job resumes, and at the end `diversity.json`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.gsrm import RlkdError, Step
from rlkd_plugin.gsrm.texts import has_reasoning, reasoning_path
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.prompting import SERVING
from rlkd_plugin.llm_io.response_time import fit_timeout
from rlkd_plugin.llm_io.role_client import role_client
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_data.embedder import Embedder
from rlkd_plugin.rlkd_data.embedding_check import open_embedder
from rlkd_plugin.rlkd_data.jobs.ownership import own
from rlkd_plugin.rlkd_data.jobs.record import Maker, read_record, record_file
from rlkd_plugin.rlkd_data.jobs.result import Result
from rlkd_plugin.rlkd_data.jobs.result_file import ResultFile
from rlkd_plugin.rlkd_data.jobs.result_lines import Shape
from rlkd_plugin.rlkd_data.jobs.runner import run_job
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_eval.diversity_lines import (
    Decomposed,
    Response,
    Sampled,
    convert_lines,
    read_kept_lines,
)
from rlkd_plugin.rlkd_eval.diversity_plan import DiversityJob, questions_digest
from rlkd_plugin.rlkd_eval.kept_files import write_json
from rlkd_plugin.rlkd_eval.results import DIVERSITY, Diversity
from rlkd_plugin.rlkd_eval.step_diversity import Vector, by_step

BATCH = 64
"""Texts in one request for embeddings."""


WRITTEN = (DIVERSITY, "responses.jsonl", "structures.jsonl", "server.log", SERVING)
"""Names that a measurement writes into its folder, beside its plan."""
STRUCTURES: Shape = {"problem": str, "sample": int, "status": str}
RESPONSES: Shape = {"problem": str, "sample": int, "response": str}
"""The fields that identify a line of the structures, and of the responses."""


async def draw_all(job: DiversityJob, questions: Sequence[Row], settings: Settings) -> None:
    """Draw the responses, into a folder that exists.

    Raises:
        EndpointError: if a server fails past the retry deadline, or rejects our requests.
        RlkdError: if a setting is missing.
    """
    fitted = fit_timeout(settings, job.drawing.max_tokens)
    async with role_client("student", fitted, instead=", or give --model") as client:
        await draw_responses(job, questions, client, settings.concurrency)


async def measure_all(
    job: DiversityJob,
    questions: Sequence[Row],
    engine: Engine,
    embedder: Embedder,
    concurrency: int,
) -> Diversity:
    """Decompose the responses, embed their steps, and write how much they differ.

    Raises:
        EndpointError: if a server fails past the retry deadline, or rejects our requests.
        RlkdError: if a setting is missing, or there is nothing to compare.
    """
    async with engine:
        await decompose_responses(job, engine, concurrency)
    async with open_embedder(embedder):
        return await measure(job, questions, embedder)


async def draw_responses(
    job: DiversityJob, questions: Sequence[Row], client: ChatClient, concurrency: int
) -> None:
    """Draw and write every response that is missing.

    Raises:
        EndpointError: if a server fails past the retry deadline, or rejects our requests.
    """
    drawing = job.drawing
    with ResultFile(job.responses, RESPONSES) as file:
        done = {line.key for line in convert_lines(job.responses, file.rows(), Response)}
        samples = (
            Sampled(problem=question["problem"], domain=question["domain"], sample=number)
            for number in range(drawing.samples)
            for question in questions
        )
        todo = (item for item in samples if item.key not in done)

        async def work(item: Sampled) -> Response:
            messages = [{"role": "system", "content": drawing.system}] if drawing.system else []
            messages.append({"role": "user", "content": item.problem})
            reply = await client.complete(
                messages,
                temperature=drawing.temperature,
                max_tokens=drawing.max_tokens,
                may_be_empty=True,
            )
            return Response(
                **item.line(), response=reply.text, thinking=reply.thinking, cut_off=reply.is_cut
            )

        await run_job(todo, work, lambda _, line: file.append(line.line()), concurrency)


async def decompose_responses(job: DiversityJob, engine: Engine, concurrency: int) -> None:
    """Decompose every response that has no structure yet, and write it.

    Raises:
        EndpointError: if the GSRM fails past the retry deadline, or rejects our requests.
        RlkdError: if another engine made structures that exist already.
    """
    facts = engine.facts
    result = Result(
        "rlkd diversity",
        job.structures,
        Maker(facts.get("gsrm", engine.name), facts),
        {"": STRUCTURES},
        remedy=f"remove {job.structures.name} to decompose the responses again",
    )
    with own(result) as owned, owned.open() as file:
        done = {line.key for line in convert_lines(job.structures, file.rows(), Decomposed)}
        responses = read_kept_lines(job.responses, Response)
        todo = (line for line in responses if line.key not in done)

        async def work(drawn: Response) -> Decomposed:
            # a server with a reasoning parser returns the path separately
            path = drawn.thinking.strip() or reasoning_path(drawn.response)
            of = Sampled(problem=drawn.problem, domain=drawn.domain, sample=drawn.sample).line()
            if not has_reasoning(path):
                return Decomposed(**of, status="undecomposable")
            result = await engine.decompose(drawn.problem, drawn.domain, path)
            steps = result.structure.steps if result.structure else ()
            return Decomposed(
                **of, status=result.status, clipped=result.clipped, cut=result.cut, steps=steps
            )

        await run_job(todo, work, lambda _, line: file.append(line.line()), concurrency)


def check_structures(job: DiversityJob) -> None:
    """Check that existing structures have a record, before hours of drawing.

    Raises:
        RlkdError: if they have none, or it cannot be read.
    """
    if job.structures.exists() and read_record(record_file(job.structures)) is None:
        raise RlkdError(
            f"{job.structures} exists already, without {record_file(job.structures).name}, the "
            "record of what made it: remove it to decompose the responses again, or name a new "
            "folder"
        )


async def measure(job: DiversityJob, questions: Sequence[Row], embedder: Embedder) -> Diversity:
    """Embed all steps, and write how much they differ.

    Raises:
        EndpointError: if an embedding server fails past the retry deadline, or rejects our
            requests.
        RlkdError: if a response or a structure is missing, or no step of a question has two
            responses.
    """
    asked = {row["problem"]: place for place, row in enumerate(questions)}

    def counts(line: Sampled) -> bool:
        return line.problem in asked and line.sample < job.drawing.samples

    structures: list[list[list[str]]] = [[] for _ in asked]
    statuses: Counter[str] = Counter()
    clipped = cut = 0
    for line in filter(counts, read_kept_lines(job.structures, Decomposed)):
        statuses[line.status] += 1
        clipped += line.clipped
        cut += line.cut
        structures[asked[line.problem]].append([step_text(step) for step in line.steps])
    cut_off = [one.cut_off for one in filter(counts, read_kept_lines(job.responses, Response))]
    drawn = len(asked) * job.drawing.samples
    if not drawn == len(cut_off) == statuses.total():
        raise RlkdError(
            f"{job.out} has {len(cut_off):,} of {drawn:,} responses, and {statuses.total():,} "
            "structures; run the same command again, or name a new folder"
        )
    vectors = await _embed(structures, embedder)
    try:
        steps = by_step(
            [[[vectors[text] for text in one] for one in question] for question in structures]
        )
    except ValueError as error:
        raise RlkdError(f"{job.out}: the embeddings by {embedder.name}: {error}") from None
    if not steps:
        raise RlkdError(f"{job.out}: no step has two responses to compare: {dict(statuses)}")
    result = Diversity(
        label=job.label,
        **asdict(job.drawing),
        embedding=embedder.name,
        questions=len(asked),
        asked=questions_digest(questions),
        responses=len(cut_off),
        cut_off=sum(cut_off),
        clipped=clipped,
        cut=cut,
        statuses=statuses,
        steps=tuple(steps),
    )
    write_json(job.out / DIVERSITY, result)
    return result


def step_text(step: Step) -> str:
    """Return the text of a step to embed: meta-reasoning and solving, as in section 4.3."""
    return f"{step.meta_reasoning}\n{step.sub_problem}\n{step.answer}"


async def _embed(
    structures: Sequence[Sequence[Sequence[str]]], embedder: Embedder
) -> Mapping[str, Vector]:
    """Return the embedding of each different text.

    Raises:
        EndpointError: as `measure`.
        RlkdError: if they are of several lengths.
    """
    texts = list(dict.fromkeys(t for question in structures for one in question for t in one))
    vectors: dict[str, Vector] = {}
    for begin in range(0, len(texts), BATCH):
        batch = texts[begin : begin + BATCH]
        found = np.asarray(await embedder.embed(batch), dtype=np.float32)
        vectors |= zip(batch, found, strict=True)
    if len(widths := {len(vector) for vector in vectors.values()}) > 1:
        raise RlkdError(
            f"{embedder.name} returns vectors of {' and of '.join(map(str, sorted(widths)))} "
            "numbers; all servers of RLKD_EMBED_BASE_URL have to serve one model"
        )
    return vectors
