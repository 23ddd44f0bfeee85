"""The job behind `rlkd construct`: R-S pairs with verification feedback (section 3.1).

A generator writes the structure of a path; our own rules, then a verifier look at it. Where one
finds fault, the generator is told and writes again, at most three times; then the row is discarded.
A structure that was cut off at its token limit is asked for once more with more room, and never
accepted.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from rlkd_plugin.gsrm import EndpointError, FormatError
from rlkd_plugin.gsrm.prompts import (
    END,
    decompose_prompt,
    feedback_prompt,
    pair_prompts,
    verify_prompt,
)
from rlkd_plugin.gsrm.texts import break_control, has_reasoning, teacher_path
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.prompted_engine import body_digest
from rlkd_plugin.llm_io.replies import Reply, after_thinking
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob, source_files
from rlkd_plugin.rlkd_data.jobs.done_rows import DoneRows
from rlkd_plugin.rlkd_data.jobs.ownership import Result, own
from rlkd_plugin.rlkd_data.jobs.record import Maker
from rlkd_plugin.rlkd_data.jobs.result_file import Shape, identity
from rlkd_plugin.rlkd_data.jobs.runner import run_job
from rlkd_plugin.rlkd_data.jobs.source_rows import RowCounts, RowKind, rows_to_do
from rlkd_plugin.rlkd_data.rows.row_fields import domain_or_math, path_of, text_of
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_data.structure_faults import check_structure, read_verification

DISCARDED = ".discarded.jsonl"
"""Ends the name of the file of the rows without a pair."""
ROW: Shape = {"problem": str, "domain": str, "reasoning_path": str}
SHAPES: Mapping[str, Shape] = {
    "": {**ROW, "attempts": int, "structure": str},
    DISCARDED: {**ROW, "attempts": list, "reason": str},
}
"""The lines of the files of `rlkd construct`."""
REGENERATIONS = 3
"""The paper: a sample that fails after three re-generations is discarded."""
ATTEMPT_CHARS = 20_000
"""Characters of a structure with a fault, and of a feedback, that the generator is shown."""
MORE_ROOM = 2
"""Times the token limit at which a structure that was cut off is asked for once more."""
CUT = "cut off at its token limit: raise RLKD_GENERATOR_MAX_TOKENS"
NEITHER = "a verifier that says neither"
MAX_NEITHER = 0.5
"""Share of the rows, from the tenth on, for which a verifier may say neither PASS nor FAIL."""


@dataclass
class ConstructReport(RowCounts):
    """What the job did.

    Attributes:
        accepted: by domain and by the attempt that was accepted, 1 to 4.
        discarded: by domain and by the last fault.
        cut: structures that were cut off at their token limit; none of them is accepted.
    """

    accepted: Counter[tuple[str, int]] = field(default_factory=Counter)
    discarded: Counter[tuple[str, str]] = field(default_factory=Counter)
    cut: int = 0

    @property
    def results(self) -> Mapping[str, int]:
        """Rows that were accepted or discarded."""
        return {"accepted": self.accepted.total(), "discarded": self.discarded.total()}


@dataclass(frozen=True)
class PairModels:
    """The two models that write R-S pairs; both clients are entered already.

    Attributes:
        generator: writes structures.
        generator_tokens: most tokens of a structure.
        verifier: says PASS or FAIL.
        verifier_tokens: most tokens of a verification.
    """

    generator: ChatClient
    generator_tokens: int
    verifier: ChatClient
    verifier_tokens: int

    @property
    def maker(self) -> Maker:
        """What a pair depends on beside its row."""
        generator, verifier = self.generator.endpoint, self.verifier.endpoint
        facts = {
            "generator": generator.model,
            "generator_max_tokens": self.generator_tokens,
            "generator_body": body_digest(generator.body),
            "verifier": verifier.model,
            "verifier_max_tokens": self.verifier_tokens,
            "verifier_body": body_digest(verifier.body),
            "prompts": f"{identity(pair_prompts()):016x}",
            "attempts": REGENERATIONS + 1,
        }
        return Maker(generator.model, facts)


def pair_source(raw: Mapping[str, Any]) -> Row:
    """Return problem, domain and reasoning path of a row, `teacher_reasoning` allowed for the last.

    Raises:
        FormatError: if one is missing, or the path says nothing.
    """
    path = teacher_path(path_of(raw))
    if not has_reasoning(path):
        raise FormatError(f"a path without reasoning: {path!r:.200}")
    return {
        "problem": text_of(raw, "problem"),
        "domain": domain_or_math(raw),
        "reasoning_path": path,
    }


def pair_identity(row: Row) -> int:
    """Return what tells a pair's row from others: problem, domain and path."""
    return identity(row["problem"], row["domain"], row["reasoning_path"])


async def construct_pairs(job: DataJob, models: PairModels, report: ConstructReport) -> None:
    """Write an R-S pair for each row whose structure passes, and the others with every attempt.

    A row is written when it is done, so their order is not the source's. A row that is in one of
    the two files is skipped; `pair_identity` tells which row it is.

    Args:
        job: from rows with `problem`, `domain` and `reasoning_path` to JSON lines, for
            `--dataset rlkd/gsrm-sft:OUT`; the discarded go to `OUT.discarded.jsonl`.
        models: write and verify.
        report: says what was done so far, at any time, also after an error.

    Raises:
        RlkdError: if a path is wrong, `out` is not this job's or was made with other settings,
            another job writes to it, the disk is full, or no row was accepted.
        EndpointError: if a server fails past the retry deadline, refuses us, or rejects so many
            rows that it cannot be because of their texts.
    """
    source_files(job.source, job.out)
    result = Result(
        "rlkd construct", job.out, models.maker, SHAPES, shard=job.shard.name, may_mix=True
    )
    with (
        own(result, mix=job.mix) as owned,
        owned.open() as accepted,
        owned.open(DISCARDED) as discarded,
    ):
        done = DoneRows(map(pair_identity, chain(accepted.rows(), discarded.rows())))

        async def work(row: Row) -> Row | str:
            return await _construct_pair(row, models, report)

        def write(row: Row, found: Row | str) -> None:
            if isinstance(found, str):
                report.reject(found)
            elif "structure" in found:
                accepted.append(found)
                report.accepted[row["domain"], found["attempts"]] += 1
            else:
                discarded.append(found)
                report.discarded[row["domain"], found["reason"]] += 1
                _check_verifier(report, found)

        kind = RowKind(pair_source, lambda row: [pair_identity(row)])
        await run_job(rows_to_do(job, kind, done, report), work, write, job.concurrency)
    report.check_done(job, accepted.lines, accepted.before + discarded.before)


async def _construct_pair(row: Row, models: PairModels, report: ConstructReport) -> Row | str:
    """Return a row with its structure, or with every attempt and the reason why it has none.

    Where a server rejects the row's text, its words are returned instead.
    """
    prompt = decompose_prompt("construct", row["domain"], row["problem"], row["reasoning_path"])
    messages = [{"role": "user", "content": prompt}]
    attempts: list[Row] = []
    room = _Room(models.generator_tokens)
    for number in range(1, REGENERATIONS + 2):
        try:
            attempt = await _attempt(row, messages, models, room)
        except EndpointError as error:
            if not error.refuses_text:
                raise
            if not attempts:
                return str(error)
            return {**row, "attempts": attempts, "reason": "rejected by a server after feedback"}
        if attempt.passed:
            return {**row, "structure": attempt.structure, "attempts": number}
        text, fault = attempt.structure[:ATTEMPT_CHARS], attempt.fault[:ATTEMPT_CHARS]
        attempts.append({"structure": text, "by": attempt.by, "fault": fault})
        if attempt.passed is None:
            return {**row, "attempts": attempts, "reason": NEITHER}
        report.cut += attempt.cut
        if attempt.cut and room.grow():
            continue  # the same question
        messages += [
            {"role": "assistant", "content": text},
            {"role": "user", "content": feedback_prompt(fault)},
        ]
    reason = CUT if attempt.cut else f"{attempt.by} found fault each time"
    return {**row, "attempts": attempts, "reason": reason}


@dataclass
class _Room:
    """The token limit of a row's structures; it grows once, where the server has the room."""

    tokens: int
    may_grow: bool = True

    def grow(self) -> bool:
        """Raise the limit, and return whether that was done."""
        if not self.may_grow:
            return False
        self.tokens *= MORE_ROOM
        self.may_grow = False
        return True


@dataclass(frozen=True)
class _Attempt:
    """A structure, and whether it passes.

    Attributes:
        structure: in the canonical form if it passed, else as it was written.
        by: "rules" or "verifier", whichever said the last word.
        passed: None if the verifier says neither PASS nor FAIL.
        fault: the last word, where it did not pass.
        cut: whether it was cut off at its token limit.
    """

    structure: str
    by: str
    passed: bool | None
    fault: str
    cut: bool = False


async def _attempt(
    row: Row, messages: list[dict[str, str]], models: PairModels, room: _Room
) -> _Attempt:
    reply = await _write(messages, models, room)
    text = break_control(_said(reply))
    if reply.is_cut:
        fault = f"It was cut off at {room.tokens} tokens. Write fewer words in each part."
        return _Attempt(text, "rules", False, fault, cut=True)
    too_long = reply.completion_tokens > room.tokens
    structure, fault = check_structure(text, row["problem"], row["reasoning_path"], too_long)
    if structure is None:
        return _Attempt(text, "rules", False, fault)
    passed, fault = await _verify(row, structure, models)
    return _Attempt(structure if passed else text, "verifier", passed, fault)


async def _write(messages: list[dict[str, str]], models: PairModels, room: _Room) -> Reply:
    """Return the generator's reply; where it rejects more room, that of the room that it has."""
    while True:
        try:
            return await models.generator.complete(
                messages, temperature=0.0, max_tokens=room.tokens, stop=[END]
            )
        except EndpointError as error:
            if not error.refuses_text or room.tokens == models.generator_tokens:
                raise
            room.tokens = models.generator_tokens


def _said(reply: Reply) -> str:
    """Return what a model says after its thinking.

    A server with a reasoning parser delivers the whole reply of a model that does not think as its
    thinking; then it is the answer, unless it was cut off in it.
    """
    said = after_thinking(reply.text)
    return said if said or reply.is_cut else after_thinking(reply.thinking)


async def _verify(row: Row, structure: str, models: PairModels) -> tuple[bool | None, str]:
    """Return whether the verifier passes a structure, and its feedback; None if it says neither."""
    prompt = verify_prompt(row["domain"], row["problem"], row["reasoning_path"], structure)
    said = ""
    for temperature in (0.0, 0.7):  # the retry must be able to say something else
        reply = await models.verifier.complete(
            [{"role": "user", "content": prompt}],
            temperature=temperature,
            max_tokens=models.verifier_tokens,
        )
        said = _said(reply)
        passed, feedback = read_verification(said)
        if passed and reply.is_cut:
            continue  # what is cut off may take it back
        if passed is not None:
            return passed, feedback
    return None, said


def _check_verifier(report: ConstructReport, last: Row) -> None:
    """Stop a job whose verifier cannot do its work.

    Raises:
        EndpointError: if it says neither PASS nor FAIL of too many rows.
    """
    neither = sum(count for (_, reason), count in report.discarded.items() if reason == NEITHER)
    if report.worked >= 10 and neither > MAX_NEITHER * report.worked:
        said = last["attempts"][-1]["fault"]
        raise EndpointError(
            f"of {report.worked} rows the verifier said neither PASS nor FAIL of {neither}; the "
            f"last time: {said[:300]!r}. Take another RLKD_VERIFIER_MODEL, or give one that thinks "
            "more RLKD_VERIFIER_MAX_TOKENS; the discarded file keeps the rows, remove it to try "
            "them again"
        )
