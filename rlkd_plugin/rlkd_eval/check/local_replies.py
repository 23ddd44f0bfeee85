"""Checks an engine without servers, such as the small one in the process."""

import time

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.rlkd_eval.check.findings import Finding
from rlkd_plugin.rlkd_eval.check.gsrm_replies import step_counts
from rlkd_plugin.rlkd_eval.check.gsrm_sentences import SampleDecomposition
from rlkd_plugin.rlkd_eval.check.judge_replies import SampleVerdict, verdict_counts
from rlkd_plugin.rlkd_eval.check.samples import PAIRS, PATHS


async def local_findings(engine: Engine) -> list[Finding]:
    """Return the findings about a structure and the verdicts."""
    sample = PATHS[0]  # mathematics, which the small GSRM was trained on
    async with engine:
        started = time.monotonic()
        try:
            result = await engine.decompose(sample.problem, sample.domain, sample.path)
            seconds = time.monotonic() - started
            verdicts = [await engine.match(one.field, one.teacher, one.student) for one in PAIRS]
        except EndpointError as error:
            return [Finding("wrong", str(error))]
    if result.structure is None:
        text = (
            f"the GSRM writes no structure for a two-step path ({result.status}); RLKD_SMALL_MODEL "
            "has to be SmolLM2-135M-Instruct, whose adapter comes with the plugin"
        )
        structures = Finding("wrong", text, seconds)
    else:
        counts = step_counts([SampleDecomposition(sample, result)], 1)
        structures = Finding(counts.verdict, counts.text, seconds)
    if {verdict.source for verdict in verdicts} == {"rule"}:
        text = "texts are matched by words, numbers and operations, without a judge"
        return [structures, Finding("ok", text)]
    found = [SampleVerdict(pair, verdict) for pair, verdict in zip(PAIRS, verdicts, strict=True)]
    return [structures, verdict_counts(found)]
