"""What `rlkd check` tests before a run: each server replies, and its replies suit the reward."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.gsrm import FIELDS, EndpointError
from rlkd_plugin.llm_io.server_engine import ServerEngine

PROBLEM = "A crate holds 6 rows of 4 bottles. 5 bottles are broken. How many are whole?"
PATH = (
    "First I count all the bottles in the crate: 6 * 4 = 24 bottles. "
    "Then I take away the broken ones: 24 - 5 = 19 bottles are whole."
)
TEACHER = (
    "Count all bottles by multiplying the rows with the bottles of a row.",
    "How many bottles are in the crate?",
    "24",
)
SAME = ("Multiply rows by bottles in a row to get all of them.", "How many bottles in all?", "24.")
OTHER = ("Divide the price by the weight.", "What does one kilogram cost?", "7 dollars")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check; `verdict` is "ok", "look" (it runs, but look at it) or "wrong"."""

    verdict: str
    text: str


async def check_engine(engine: Engine) -> AsyncIterator[Finding]:
    """Ask the GSRM for one structure and the judge for six verdicts, and yield what came."""
    async with engine:
        for client in (engine.gsrm, engine.judge) if isinstance(engine, ServerEngine) else ():
            started = time.monotonic()
            try:
                await client.probe()
            except EndpointError as error:
                yield Finding("wrong", str(error))
                return
            servers = f"{len(client.endpoint.urls)} server(s), {time.monotonic() - started:.2f} s"
            yield Finding("ok", f"{client.endpoint.role} {client.endpoint.model}: {servers}")
        try:
            yield await _check_structure(engine)
            yield await _check_verdicts(engine)
        except EndpointError as error:
            yield Finding("wrong", str(error))


async def _check_structure(engine: Engine) -> Finding:
    started = time.monotonic()
    result = await engine.decompose(PROBLEM, "math", PATH)
    seconds = f"{time.monotonic() - started:.1f} s"
    if result.structure is None:
        advice = "RLKD_SMALL_MODEL is not the model whose adapter comes with the plugin"
        if isinstance(engine, ServerEngine):
            advice = (
                f"RLKD_GSRM_PROMPT={engine.settings.gsrm_prompt}: `gsrm` needs a trained GSRM, "
                "`construct` takes any model, RLKD_GSRM_REGEX=true holds a weak one to the form"
            )
        lacks = f"the GSRM gives no structure for a two-step path ({result.status}, {seconds})"
        return Finding("wrong", f"{lacks}; {advice}")
    steps = len(result.structure.steps)
    return Finding("ok" if steps == 2 else "look", f"a two-step path has {steps} steps, {seconds}")


async def _check_verdicts(engine: Engine) -> Finding:
    verdicts = {
        (field, student is SAME): await engine.match(field, teacher, text)
        for student in (SAME, OTHER)
        for field, teacher, text in zip(FIELDS, TEACHER, student, strict=True)
    }
    sources = sorted({verdict.source for verdict in verdicts.values()})
    if sources == ["rule"]:
        return Finding("ok", "texts are matched by words, numbers and operations, without a judge")
    if "refused" in sources:
        return Finding(
            "wrong",
            "the judge's verdicts are unreadable: RLKD_JUDGE_MODEL must answer yes or no; a model "
            "that thinks first needs RLKD_JUDGE_MAX_TOKENS=2048",
        )
    wrong = [field for (field, same), v in verdicts.items() if v.matched is not same]
    text = f"verdicts by {', '.join(sources)}; {6 - len(wrong)} of 6 as expected"
    return Finding("look", f"{text}, not: {', '.join(wrong)}") if wrong else Finding("ok", text)
