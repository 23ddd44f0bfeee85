"""The samples of an evaluation, a line each in `samples/SET.jsonl`, and their scores."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.gsrm.thinking import split_thinking, thinking_end
from rlkd_plugin.rlkd_eval.benchmarks import benchmark
from rlkd_plugin.rlkd_eval.pass_at_k import any_of_k, interval, pass_at_1, unbiased_pass_at_k
from rlkd_plugin.rlkd_eval.result_values import Interval
from rlkd_plugin.rlkd_eval.results import PassAtK, SetResult
from rlkd_plugin.rlkd_files import cut_half_line, json_line, json_lines, write_whole

logger = logging.getLogger(__name__)

CUT_OFF = ("max_tokens", "length")
"""Stop reasons of a response at its limit: evalscope's name and the servers'."""
TOO_LONG = ("model_length",)
"""evalscope's stop reason where prompt and limit are too long for the server's context."""
_REMEDY = ": remove it, or name a new folder"

T = TypeVar("T")


def repair(work: Path) -> None:
    """Remove a half line, which a kill leaves, from the end of evalscope's files."""
    for file in work.glob("*/model/*.jsonl"):
        with file.open("rb+") as lines:
            cut_half_line(lines)


def check_responses(work: Path) -> None:
    """Check the saved responses, before evalscope draws the missing ones.

    Raises:
        RlkdError: if a line is not as evalscope writes it.
    """
    for _ in _each_row(work, "predictions", _read_prediction):
        pass


def keep_samples(work: Path, file: Path, runs: int) -> None:
    """Write a row a sample with evalscope's verdict, in the order of problems and of drawing.

    Args:
        work: evalscope's folder of one test set.
        file: is replaced.
        runs: samples that each problem has to have.

    Raises:
        RlkdError: if some are missing, or a server had no room for a response.
    """
    drawn = dict(_each_row(work, "predictions", _read_prediction))
    if full := [place for place, one in drawn.items() if one.get("stop_reason") in TOO_LONG]:
        raise RlkdError(
            f"the server rejected {len(full)} of {len(drawn)} requests: prompt and --max-tokens "
            "exceed the model's context (vLLM: --max-model-len); raise it, or lower --max-tokens; "
            f"remove {work} and draw again"
        )
    rows = list(_each_row(work, "reviews", lambda subset, review: _row(subset, review, drawn)))
    counts = Counter(row["problem"] for row in rows)
    if not rows or any(count != runs for count in counts.values()):
        raise RlkdError(f"some of {len(counts)} problems lack {runs} samples; see {work}/logs")
    for remark in _list_remarks(rows, file.stem):
        logger.warning("%s", remark)
    rows.sort(key=lambda row: (*_place(row["problem"]), row["sample"]))
    file.parent.mkdir(exist_ok=True)
    # a reply may hold half a surrogate pair
    write_whole(file, b"".join(json_line(row, escape=True) for row in rows))


def _each_row(work: Path, kind: str, read: Callable[[str, Any], T]) -> Iterator[T]:
    """Yield the result of `read` for each row of evalscope's files, with the file's name.

    Raises:
        RlkdError: if a row is not as evalscope writes it.
    """
    for path in sorted((work / kind / "model").glob("*.jsonl")):
        for number, row in json_lines(path):
            try:
                if isinstance(row, FormatError):
                    raise row
                yield read(path.stem, row)
            except (LookupError, TypeError, AttributeError, ValueError) as error:
                what = error if isinstance(error, FormatError) else f"{error!r}"
                raise RlkdError(
                    f"{path}:{number} is not a line that evalscope writes here ({what}); remove "
                    f"{work}, and draw again"
                ) from None


def _read_prediction(subset: str, row: dict[str, Any]) -> tuple[tuple[str, int], dict[str, Any]]:
    return (subset, row["index"]), (row["model_output"].get("choices") or [{}])[0]


def _list_remarks(rows: Sequence[dict[str, Any]], name: str) -> list[str]:
    """Return remarks on responses that count as wrong without a readable answer."""
    remarks = []
    if failed := [row for row in rows if row["status"] not in (None, "success")]:
        remarks.append(
            f"{name}: {len(failed)} of {len(rows)} responses could not be scored, and count as "
            f"wrong; the right answer of the first is {failed[0]['target']!r:.200}"
        )
    alone = [
        row
        for row in rows
        if row["stop"] not in CUT_OFF and row["response"] and not answer_part(row["response"])
    ]
    if alone:
        remarks.append(
            f"{name}: {len(alone)} of {len(rows)} responses end after their thinking, without an "
            "answer, and count as wrong; if these are many, the server may mistake whole responses "
            "for thinking (vLLM: serve without --reasoning-parser)"
        )
    if unread := [row for row in rows if _is_unread(row)]:
        remarks.append(
            f"{name}: in {len(unread)} of {len(rows)} responses evalscope finds no answer, and "
            f"they count as wrong; the first one ends with {unread[0]['response'][-100:]!r}"
        )
    return remarks


def _is_unread(row: dict[str, Any]) -> bool:
    """Return whether a response has an answer part in which no answer was found."""
    is_scored = row["status"] in (None, "success") and row["stop"] not in CUT_OFF
    return is_scored and not row["answer"] and bool(answer_part(row["response"]))


def _place(problem: str) -> tuple[str, int]:
    subset, _, number = problem.rpartition(":")
    return subset, int(number)


def _row(
    subset: str, review: dict[str, Any], every: Mapping[tuple[str, int], dict[str, Any]]
) -> dict[str, Any]:
    drawn = every[subset, review["index"]]
    sample = review["sample_score"]
    score = sample["score"]
    response = _text(drawn.get("message", {}).get("content", ""))
    in_draft = drawn.get("stop_reason") in CUT_OFF and _is_draft(response)
    return {
        "problem": f"{subset}:{sample['group_id']}",
        "sample": sample["generation_index"],
        "right": _value(score) == 1.0 and not in_draft,
        "target": review["target"],
        "answer": score["extracted_prediction"],
        "stop": drawn.get("stop_reason"),
        "status": score.get("status"),
        "response": response,
    }


def answer_part(response: str) -> str:
    """Return the part of a response that may hold its answer: after its thinking, in answer tags.

    A response that ends without ending its thinking is searched as a whole. Of several answers in
    tags the first counts, as for ms-swift's `accuracy`; the tags themselves are left off:
    evalscope finds no number in `<answer>42</answer>`.
    """
    said = split_thinking(response)[1]
    part = said if said or thinking_end(response) is not None else response
    answer, closed, _ = part.partition("<answer>")[2].partition("</answer>")
    return answer.strip() if closed else part


def _is_draft(response: str) -> bool:
    """Return whether a response ends in its thinking; an answer there does not count."""
    thinking, said = split_thinking(response)
    return bool(thinking) and not said


def _value(score: dict[str, Any]) -> float:
    """Return a sample's accuracy; adapters have two names for it, and a failed one has none."""
    return score["value"].get("accuracy", score["value"].get("acc", 0.0))


def _text(content: str | list[dict[str, Any]]) -> str:
    """Return a response as the model wrote it, with the thinking that evalscope separates."""
    if isinstance(content, str):
        return content
    parts = [
        f"<think>{part['reasoning']}</think>" if "reasoning" in part else part.get("text", "")
        for part in content
    ]
    return "\n".join(parts)


def read_samples(file: Path) -> tuple[list[list[bool]], float]:
    """Return which samples of each problem are right, and the share that was cut off.

    Raises:
        RlkdError: if a line is not a sample, or there is none.
    """
    problems: dict[str, list[bool]] = {}
    cut_off = total = 0
    for number, row in json_lines(file):
        if isinstance(row, FormatError):
            raise RlkdError(f"{file}:{number}: {row}{_REMEDY}")
        total += 1
        problem, right = row.get("problem"), row.get("right")
        if not (isinstance(problem, str) and isinstance(right, bool)):
            raise RlkdError(f"{file}:{number} is not a sample of `rlkd eval`{_REMEDY}")
        problems.setdefault(problem, []).append(right)
        cut_off += row.get("stop") in CUT_OFF
    if not total:
        raise RlkdError(f"{file} has no sample{_REMEDY}")
    return list(problems.values()), cut_off / total


def check_samples(folder: Path, names: Sequence[str], replaced: str) -> None:
    """Check the sample files of other test sets, which `eval.json` covers too.

    Args:
        folder: of the files.
        names: of the evaluation's test sets.
        replaced: the one whose file will be replaced.

    Raises:
        RlkdError: if a file is not of this evaluation, or cannot be read.
    """
    for file in sorted(folder.glob("*.jsonl")):
        if file.stem not in names:
            raise RlkdError(f"{file} is not of a test set of this evaluation{_REMEDY}")
        if file.stem != replaced:
            read_samples(file)


def scores_of(file: Path) -> SetResult:
    """Return all scores of a test set: shares in [0, 1], with 95% intervals over problems."""
    bench = benchmark(file.stem)
    right, cut_off = read_samples(file)
    runs = min(map(len, right))
    ks = sorted({k for k in (*bench.ks, runs) if 1 < k <= runs})
    low, high = interval(right, pass_at_1)
    return SetResult(
        name=bench.title,
        problems=len(right),
        samples=runs,
        cut_off=cut_off,
        pass_at_1=Interval(pass_at_1(right), low, high),
        pass_at_1_of_runs={m: pass_at_1(right, m) for m in (1, *ks)},
        pass_at_k={k: _pass_at_k(right, k) for k in ks},
    )


def _pass_at_k(right: list[list[bool]], k: int) -> PassAtK:
    low, high = interval(right, lambda drawn: unbiased_pass_at_k(drawn, k))
    return PassAtK(any_of_k(right, k), unbiased_pass_at_k(right, k), low, high)
