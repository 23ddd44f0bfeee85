"""The job behind `rlkd construct`: R-S pairs with verification feedback (section 3.1).

A generator writes the structure of a path; our own rules, then a verifier look at it. Where one
finds fault, the generator is told and writes again, at most three times; then the row is discarded.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import (
    EndpointError,
    FormatError,
    parse_structure,
    render_structure,
)
from rlkd_plugin.gsrm.prompts import END, decompose_prompt, feedback_prompt, verify_prompt
from rlkd_plugin.gsrm.texts import has_reasoning, teacher_path
from rlkd_plugin.llm_io.paced_client import PacedClient
from rlkd_plugin.rlkd_data.job_rows import RowCounts, rows_to_do, source_files
from rlkd_plugin.rlkd_data.job_runner import run_job
from rlkd_plugin.rlkd_data.result_file import ResultFile, identity
from rlkd_plugin.rlkd_data.row_format import Row, domain_of, text_of

REGENERATIONS = 3
"""The paper: a sample that fails after three re-generations is discarded."""

_VERDICT = re.compile(r"\W*(pass|fail)(?:ed|s)?\b\W*", re.IGNORECASE)


@dataclass
class ConstructReport(RowCounts):
    """What the job did.

    Attributes:
        accepted: by domain and by the attempt that was accepted, 1 to 4.
        discarded: by domain and by what was found last.
    """

    accepted: Counter[tuple[str, int]] = field(default_factory=Counter)
    discarded: Counter[tuple[str, str]] = field(default_factory=Counter)


def pair_source(raw: dict[str, Any]) -> Row:
    """Return problem, domain and reasoning path of a row, `teacher_reasoning` allowed for the last.

    Raises:
        FormatError: if one is missing, or the path says nothing.
    """
    name = "reasoning_path" if raw.get("reasoning_path") else "teacher_reasoning"
    path = teacher_path(text_of(raw, name))
    if not has_reasoning(path):
        raise FormatError(f"{name} has no reasoning: {path!r:.200}")
    return {
        "problem": text_of(raw, "problem"),
        "domain": domain_of({**raw, "domain": raw.get("domain") or "math"}),
        "reasoning_path": path,
    }


async def construct_pairs(
    source: Path,
    out: Path,
    generator: PacedClient,
    verifier: PacedClient,
    *,
    concurrency: int,
    generator_tokens: int,
    verifier_tokens: int,
    shard: tuple[int, int] = (1, 1),
    on_progress: Callable[[int], None] = lambda rows: None,
) -> ConstructReport:
    """Write an R-S pair for each row whose structure passes, and the others with every attempt.

    A row is written when it is done, so their order is not the source's. A row that is in one of
    the two files is not asked for again; what a row is, is told by problem, domain and path.

    Args:
        source: rows with `problem`, `domain` and `reasoning_path`: a file or a folder.
        out: JSON lines, for `--dataset rlkd/gsrm-sft:OUT`; the others: `OUT.discarded.jsonl`.
        generator: entered already.
        verifier: entered already.
        concurrency: rows in work at once.
        generator_tokens: most tokens of a structure.
        verifier_tokens: most tokens of a verification.
        shard: (i, n): take the i-th of n parts, which together are all rows.
        on_progress: called with the number of rows done, now and then.

    Raises:
        RlkdError: if a path is wrong, or another job writes to `out`.
        EndpointError: if a server fails for longer than the patience, or refuses us.
    """
    files = source_files(source, out)
    report = ConstructReport()
    with (
        ResultFile(out) as accepted,
        ResultFile(out.with_name(f"{out.name}.discarded.jsonl")) as discarded,
    ):
        done = accepted.done(_identity) | discarded.done(_identity)

        async def work(row: Row) -> Row:
            return await _constructed(row, generator, verifier, generator_tokens, verifier_tokens)

        def write(row: Row, found: Row) -> None:
            if "structure" in found:
                report.accepted[row["domain"], found["attempts"]] += 1
                accepted.append(found)
            else:
                report.discarded[row["domain"], found["reason"]] += 1
                discarded.append(found)
            on_progress(report.accepted.total() + report.discarded.total())

        todo = rows_to_do(files, pair_source, _identity, done, shard, report)
        await run_job(todo, work, write, concurrency)
    return report


async def _constructed(
    row: Row,
    generator: PacedClient,
    verifier: PacedClient,
    generator_tokens: int,
    verifier_tokens: int,
) -> Row:
    """Return a row with its structure, or with every attempt and the reason why it has none."""
    asked = row["domain"], row["problem"], row["reasoning_path"]
    messages = [{"role": "user", "content": decompose_prompt("construct", *asked)}]
    attempts: list[Row] = []
    for number in range(1, REGENERATIONS + 2):
        try:
            reply = await generator.complete(
                messages, temperature=0.0, max_tokens=generator_tokens, stop=[END]
            )
            text = reply.text.rpartition("</think>")[2].strip()
            structure, fault = checked(text, reply.finish_reason == "length")
            by = "rules"
            if structure is not None:
                by = "verifier"
                fault = await _fault(verifier, asked, structure, verifier_tokens)
                if fault == "":
                    return {**row, "structure": structure, "attempts": number}
        except EndpointError as error:
            if not error.refuses_text:
                raise
            return {**row, "attempts": attempts, "reason": "refused by a server"}
        attempts.append({"structure": text, "by": by, "fault": fault})
        if fault is None:
            return {**row, "attempts": attempts, "reason": "a verifier that says neither"}
        messages += [
            {"role": "assistant", "content": text[:20_000]},
            {"role": "user", "content": feedback_prompt(fault)},
        ]
    return {**row, "attempts": attempts, "reason": f"{attempts[-1]['by']} found fault each time"}


def checked(text: str, cut_off: bool = False) -> tuple[str | None, str | None]:
    """Return a generator's structure in the canonical form, or the fault that our rules find.

    Every step has its three fields, numbers count up from 1, and a final answer is there.
    """
    if cut_off:
        return None, "It is too long and was cut off. Write fewer words in each part."
    try:
        structure = parse_structure(text)
    except FormatError as error:
        return None, f"It is not in the form of the instruction: {error}"
    if not structure.final_answer:
        return None, (
            f"After step {len(structure.steps)} it leaves the form: a number that skips or "
            "repeats, a part that is missing, or no final answer at the end."
        )
    return render_structure(structure), None


async def _fault(
    verifier: PacedClient, asked: tuple[str, str, str], structure: str, tokens: int
) -> str | None:
    """Return what the verifier finds wrong; "" if nothing, None if it says neither, twice."""
    message = {"role": "user", "content": verify_prompt(*asked, structure)}
    for temperature in (0.0, 0.7):  # the second ask must be able to say something else
        reply = await verifier.complete([message], temperature=temperature, max_tokens=tokens)
        found = read_verification(reply.text)
        if found is not None:
            return found
    return None


def read_verification(text: str) -> str | None:
    """Read a verifier's answer after any thinking: "" for PASS, the feedback of FAIL, else None."""
    said = text.rpartition("</think>")[2].strip()
    verdict = _VERDICT.match(said)
    if "<think>" in said or not verdict:
        return None
    if verdict[1].lower() == "pass":
        return ""
    return said[verdict.end() :].strip() or "It does not meet the instruction."


def _identity(row: Row) -> int:
    return identity(row["problem"], row["domain"], row["reasoning_path"])
