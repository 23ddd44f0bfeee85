"""Finds the faults in a GSRM's replies to the sample paths.

Pure. Not here: the requests (`check`), and the wording of a fault (`gsrm_sentences`).
"""

from collections.abc import Mapping, Sequence

from rlkd_plugin.gsrm import render_structure
from rlkd_plugin.gsrm.texts import split_thinking
from rlkd_plugin.llm_io.request_options import Change
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_eval.check.findings import Finding, join_names
from rlkd_plugin.rlkd_eval.check.gsrm_sentences import SENTENCES, Case, SampleDecomposition

EXPECTED_STEPS = (2, 3)
"""Steps of a structure of a two-step path, the last of which may only state the result."""


def gsrm_findings(
    found: Sequence[SampleDecomposition], settings: Settings, rejected: Mapping[str, Change]
) -> list[Finding]:
    """Return the faults of a GSRM's replies, each with the setting or option to change.

    A fault in at least half of the paths is "wrong", in fewer "look": a GSRM may be trained for
    some of the domains alone.

    Args:
        found: the sample paths with their replies.
        settings: those of the run.
        rejected: the options that the server rejected, and how requests changed.
    """
    by_fault: dict[str, list[SampleDecomposition]] = {}
    for one in found:
        by_fault.setdefault(_fault(one), []).append(one)
    whole = [one for one in found if one.result.structure is not None and not one.result.cut]
    findings = [step_counts(whole, len(found))] if whole else []
    for fault, some in by_fault.items():
        if fault:
            harmless = fault in ("separate", "retried", "thinks_first") or 2 * len(some) < len(
                found
            )
            text = SENTENCES[fault](Case(some, len(found), settings, rejected))
            findings.append(Finding("look" if harmless else "wrong", text))
    return findings


def _fault(one: SampleDecomposition) -> str:
    """Return the fault of the replies to a path: a key of `SENTENCES`, or an empty text."""
    result, reply = one.result, one.last.reply if one.last else None
    if result.status == "refused" or reply is None:
        return "" if result.structure is not None else "rejected"
    is_separate = not reply.text.strip() and bool(reply.thinking.strip())
    if result.structure is not None:
        if result.cut:
            return "cut"
        if is_separate:
            return "separate"
        if reply.thinking.strip() or split_thinking(reply.text)[0]:
            return "thinks_first"
        first = one.exchanges[0].reply
        return "retried" if len(one.exchanges) > 1 and first and not first.is_cut else ""
    if is_separate and not reply.is_cut:
        return "swallowed"
    if reply.thinking.strip() or (reply.text.strip() and not split_thinking(reply.text)[1]):
        return "thinks"
    return "cut" if reply.is_cut else "form"


def step_counts(whole: Sequence[SampleDecomposition], total: int) -> Finding:
    """Return the step counts of the structures, and whether these belong to their paths."""
    steps = {
        one.sample.domain: len(one.result.structure.steps) for one in whole if one.result.structure
    }
    foreign = [
        one.sample.domain
        for one in whole
        if one.result.structure
        and one.sample.result.lower() not in render_structure(one.result.structure).lower()
    ]
    counts = join_names(f"{domain} {count}" for domain, count in steps.items())
    text = f"steps of a two-step path: {counts}"
    if foreign:
        return Finding(
            "look",
            f"{text}; the path's result is not in the structure ({join_names(foreign)}): check "
            "that RLKD_GSRM_MODEL names the GSRM, and that its server keeps the whole prompt",
        )
    is_expected = len(whole) == total and all(n in EXPECTED_STEPS for n in steps.values())
    return Finding("ok" if is_expected else "look", text)
