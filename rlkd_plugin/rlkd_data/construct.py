"""The job behind `rlkd construct`: R-S pairs with verification feedback (section 3.1).

A generator writes the structure of a path; our own rules, then a verifier look at it. Where one
finds fault, the generator is told and writes again, at most three times; then the row is discarded.
"""

import re
from collections import Counter
from collections.abc import Sequence
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
from rlkd_plugin.gsrm.texts import break_control, has_reasoning, teacher_path
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.replies import after_thinking
from rlkd_plugin.rlkd_data.jobs.result_file import ResultFile, identity
from rlkd_plugin.rlkd_data.jobs.runner import run_job
from rlkd_plugin.rlkd_data.jobs.source_rows import RowCounts, rows_to_do, source_files
from rlkd_plugin.rlkd_data.rows.row_format import Row, domain_of, path_of, text_of

REGENERATIONS = 3
"""The paper: a sample that fails after three re-generations is discarded."""

ATTEMPT_CHARS = 20_000
"""Of a structure with a fault, and of a feedback, so much is shown to the generator and kept."""
NEITHER = "a verifier that says neither"
MAX_NEITHER = 0.5
"""From the tenth row on, the share for which the verifier may say neither PASS nor FAIL."""
EXAMPLES = frozenset(parse_structure(text).steps for text in example_structures())

_VERDICT = re.compile(r"\W*(?:verdict\W+)?(pass|fail)(?:ed|s)?\b\W*", re.IGNORECASE)
_FAIL = re.compile(r"\bFAIL\b")


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
    path = teacher_path(path_of(raw))
    if not has_reasoning(path):
        raise FormatError(f"a path without reasoning: {path!r:.200}")
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
        EndpointError: if a server fails for longer than the patience, refuses us, or refuses so
            many rows that it cannot be because of their texts.
    """
    files = source_files(source, out)
    columns = "problem", "domain", "reasoning_path", "attempts"
    with (
        ResultFile(out, *columns, "structure") as accepted,
        ResultFile(out.with_name(f"{out.name}.discarded.jsonl"), *columns, "reason") as discarded,
    ):
        done = accepted.done(_identity) | discarded.done(_identity)

        async def work(row: Row) -> Row | str:
            return await _constructed(row, generator, verifier, generator_tokens, verifier_tokens)

        def write(row: Row, found: Row | str) -> None:
            if isinstance(found, str):
                report.refuse(found)
            elif "structure" in found:
                accepted.append(found)
                report.accepted[row["domain"], found["attempts"]] += 1
            else:
                discarded.append(found)
                report.discarded[row["domain"], found["reason"]] += 1
                _check_verifier(report, found)

        todo = rows_to_do(files, pair_source, _identity, done, shard, report)
        await run_job(todo, work, write, concurrency)


async def _constructed(
    row: Row,
    generator: ChatClient,
    verifier: ChatClient,
    generator_tokens: int,
    verifier_tokens: int,
) -> Row | str:
    """Return a row with its structure, or with every attempt and the reason why it has none.

    A text is what a server says that does not take the row.
    """
    asked = row["domain"], row["problem"], row["reasoning_path"]
    messages = [{"role": "user", "content": decompose_prompt("construct", *asked)}]
    attempts: list[Row] = []
    passed: bool | None = False
    for number in range(1, REGENERATIONS + 2):
        try:
            reply = await generator.complete(
                messages, temperature=0.0, max_tokens=generator_tokens, stop=[END]
            )
            text = break_control(after_thinking(reply.text))
            cut_off = reply.finish_reason == "length"
            too_long = cut_off or reply.completion_tokens > generator_tokens
            structure, fault = checked(text, asked[1:], too_long)
            by = "rules"
            if structure is not None:
                by = "verifier"
                passed, fault = await _verified(verifier, asked, structure, verifier_tokens)
                if passed:
                    return {**row, "structure": structure, "attempts": number}
        except EndpointError as error:
            if not error.refuses_text:
                raise
            if not attempts:
                return str(error)
            return {**row, "attempts": attempts, "reason": "refused by a server when mended"}
        text, fault = text[:ATTEMPT_CHARS], fault[:ATTEMPT_CHARS]
        attempts.append({"structure": text, "by": by, "fault": fault})
        if passed is None:
            return {**row, "attempts": attempts, "reason": NEITHER}
        messages += [
            {"role": "assistant", "content": text},
            {"role": "user", "content": feedback_prompt(fault)},
        ]
    return {**row, "attempts": attempts, "reason": f"{attempts[-1]['by']} found fault each time"}


def checked(text: str, asked: Sequence[str], too_long: bool = False) -> tuple[str | None, str]:
    """Return a generator's structure in the canonical form, or None and what our rules find.

    Every step has its three fields, with something in them, numbers count up from 1, and a final
    answer is there. It is not one of the instruction's own examples, and not in the Latin script
    where problem and path are in another one, nor the other way round: languages that share a
    script are left to the verifier.

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
    for step in structure.steps:
        if not (has_reasoning(step.meta_reasoning) and has_reasoning(step.sub_problem)):
            return None, "A step's meta-reasoning or sub-problem has no word in it."
    fields = [text for step in structure.steps for text in astuple(step)]
    written = _beyond_latin("".join(fields))
    if all(_scripts_differ(written, _beyond_latin(text)) for text in asked):
        return None, "It is not in the language of the reasoning path. Write it in this language."
    return render_structure(structure), ""


def _scripts_differ(one: float, other: float) -> bool:
    """Compare two shares of letters; between the bounds are texts with many formulas."""
    return min(one, other) < 0.1 and max(one, other) > 0.6


def _beyond_latin(text: str) -> float:
    """Return the share of a text's letters that are of another script than the Latin one.

    Mathematical letters are of none.
    """
    letters = [char for char in text if char.isalpha() and not "\U0001d400" <= char <= "\U0001d7ff"]
    return sum(char > "\u024f" for char in letters) / max(1, len(letters))


async def _verified(
    verifier: ChatClient, asked: tuple[str, str, str], structure: str, tokens: int
) -> tuple[bool | None, str]:
    """Return whether the verifier passes a structure, and its feedback; None if it says neither."""
    message = {"role": "user", "content": verify_prompt(*asked, structure)}
    said = ""
    for temperature in (0.0, 0.7):  # the second ask must be able to say something else
        reply = await verifier.complete([message], temperature=temperature, max_tokens=tokens)
        said = after_thinking(reply.text)
        passed, feedback = read_verification(said)
        if passed is not None:
            return passed, feedback
    return None, said


def read_verification(said: str) -> tuple[bool | None, str]:
    """Read a verifier's answer: whether it says PASS, and the feedback of a FAIL.

    The first word decides; None where it is neither, or where FAIL follows a PASS.
    """
    verdict = _VERDICT.match(said)
    rest = said[verdict.end() :].strip() if verdict else ""
    if not verdict:
        return None, ""
    if verdict[1].lower() == "pass":
        return (None if _FAIL.search(rest) else True), ""
    return False, rest or "It does not meet the instruction."


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


def _identity(row: Row) -> int:
    return identity(row["problem"], row["domain"], row["reasoning_path"])
