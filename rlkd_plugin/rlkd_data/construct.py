"""The job behind `rlkd construct`: R-S pairs with verification feedback (section 3.1).

A generator writes the structure of a path; our own rules, then a verifier look at it. Where one
finds fault, the generator is told and writes again, at most three times; then the row is discarded.
"""

import re
from collections import Counter
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import (
    EndpointError,
    FormatError,
    parse_structure,
    render_structure,
)
from rlkd_plugin.gsrm.prompts import (
    END,
    decompose_prompt,
    example_structures,
    feedback_prompt,
    verify_prompt,
)
from rlkd_plugin.gsrm.texts import has_reasoning, teacher_path
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.rlkd_data.job_rows import RowCounts, rows_to_do, source_files
from rlkd_plugin.rlkd_data.job_runner import run_job
from rlkd_plugin.rlkd_data.result_file import ResultFile, identity
from rlkd_plugin.rlkd_data.row_format import Row, domain_of, text_of

REGENERATIONS = 3
"""The paper: a sample that fails after three re-generations is discarded."""

ATTEMPT_CHARS = 20_000
"""Of a structure with a fault so much is shown to the generator again, and kept."""
EXAMPLES = frozenset(parse_structure(text).steps for text in example_structures())

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

    @property
    def worked(self) -> int:
        """Rows of which one or the other is known."""
        return self.accepted.total() + self.discarded.total()


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
    generator: ChatClient,
    verifier: ChatClient,
    report: ConstructReport,
    *,
    concurrency: int,
    generator_tokens: int,
    verifier_tokens: int,
    shard: tuple[int, int] = (1, 1),
) -> None:
    """Write an R-S pair for each row whose structure passes, and the others with every attempt.

    A row is written when it is done, so their order is not the source's. A row that is in one of
    the two files is not asked for again; what a row is, is told by problem, domain and path.

    Args:
        source: rows with `problem`, `domain` and `reasoning_path`: a file or a folder.
        out: JSON lines, for `--dataset rlkd/gsrm-sft:OUT`; the others: `OUT.discarded.jsonl`.
        generator: entered already.
        verifier: entered already.
        report: says what was done so far, at any time, also after an error.
        concurrency: rows in work at once.
        generator_tokens: most tokens of a structure.
        verifier_tokens: most tokens of a verification.
        shard: (i, n): take the i-th of n parts, which together are all rows.

    Raises:
        RlkdError: if a path is wrong, another job writes to `out`, or the disk is full.
        EndpointError: if a server fails for longer than the patience, or refuses us.
    """
    files = source_files(source, out)
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

        todo = rows_to_do(files, pair_source, _identity, done, shard, report)
        await run_job(todo, work, write, concurrency)


async def _constructed(
    row: Row,
    generator: ChatClient,
    verifier: ChatClient,
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
            cut_off = reply.finish_reason == "length"
            too_long = cut_off or reply.completion_tokens > generator_tokens
            structure, fault = checked(text, "".join(asked), too_long)
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
        text = text[:ATTEMPT_CHARS]
        attempts.append({"structure": text, "by": by, "fault": fault})
        if fault is None:
            return {**row, "attempts": attempts, "reason": "a verifier that says neither"}
        messages += [
            {"role": "assistant", "content": text},
            {"role": "user", "content": feedback_prompt(fault)},
        ]
    return {**row, "attempts": attempts, "reason": f"{attempts[-1]['by']} found fault each time"}


def checked(text: str, asked: str, too_long: bool = False) -> tuple[str | None, str | None]:
    """Return a generator's structure in the canonical form, or the fault that our rules find.

    Every step has its three fields, numbers count up from 1, and a final answer is there. It is
    not one of the instruction's own examples, and not in another script than problem and path: a
    language that shares the script is left to the verifier.

    Args:
        text: what the generator wrote.
        asked: problem and path.
        too_long: whether it has more tokens than it was given.
    """
    if too_long:
        return None, "It is too long. Write fewer words in each part."
    try:
        structure = parse_structure(text)
    except FormatError as error:
        return None, f"It is not in the form of the instruction: {error}"
    if not structure.final_answer:
        return None, (
            f"After step {len(structure.steps)} it leaves the form: a number that skips or "
            "repeats, a part that is missing, or no final answer at the end."
        )
    if structure.steps in EXAMPLES:
        return None, "It is the structure of an example. Write that of the given reasoning path."
    said = "".join(text for step in structure.steps for text in astuple(step))
    one, other = sorted((_beyond_latin(said), _beyond_latin(asked)))
    if one < 0.1 and other > 0.6:  # between them are formulas in a text of another script
        return None, "It is not in the language of the reasoning path. Write it in this language."
    return render_structure(structure), None


def _beyond_latin(text: str) -> float:
    """Return the share of a text's letters that are of another script than the Latin one."""
    letters = [char for char in text if char.isalpha()]
    return sum(char > "\u024f" for char in letters) / max(1, len(letters))


async def _fault(
    verifier: ChatClient, asked: tuple[str, str, str], structure: str, tokens: int
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
