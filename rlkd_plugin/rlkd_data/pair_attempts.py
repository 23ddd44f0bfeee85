"""Makes one R-S pair: a generator writes, rules and a verifier check, and it gets feedback.

Not here: over which rows, and where pairs are written (`construct`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.gsrm.prompts import (
    END,
    decompose_prompt,
    feedback_prompt,
    pair_prompts,
    verify_prompt,
)
from rlkd_plugin.gsrm.texts import break_control
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.prompted_engine import body_digest
from rlkd_plugin.llm_io.replies import Reply, after_thinking
from rlkd_plugin.rlkd_data.jobs.record import Maker
from rlkd_plugin.rlkd_data.jobs.result_lines import identity
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_data.structure_faults import check_structure, read_verification

REGENERATIONS = 3
"""The paper: a sample that fails after three re-generations is discarded."""
ATTEMPT_CHARS = 20_000
"""Maximum characters of a faulty structure, and of its feedback, in a prompt."""
LIMIT_FACTOR = 2
"""Factor on the token limit when a structure that was cut off is requested once more."""
CUT = "cut off at its token limit: raise RLKD_GENERATOR_MAX_TOKENS"
NEITHER = "a verifier that says neither"


@dataclass(frozen=True)
class PairModels:
    """The two models that write R-S pairs; both clients are open.

    Attributes:
        generator: writes structures.
        generator_tokens: maximum tokens of a structure.
        verifier: says PASS or FAIL.
        verifier_tokens: maximum tokens of a verification.
    """

    generator: ChatClient
    generator_tokens: int
    verifier: ChatClient
    verifier_tokens: int

    @property
    def maker(self) -> Maker:
        """The facts that a pair depends on, besides its row."""
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


async def construct_pair(row: Row, models: PairModels, count_cut: Callable[[], None]) -> Row | str:
    """Return a row with its structure, or with every attempt and the reason why it has none.

    If a server rejects the row's text, its error message is returned instead.
    """
    prompt = decompose_prompt("construct", row["domain"], row["problem"], row["reasoning_path"])
    messages = [{"role": "user", "content": prompt}]
    attempts: list[Row] = []
    limit = _TokenLimit(models.generator_tokens)
    for number in range(1, REGENERATIONS + 2):
        try:
            attempt = await _attempt(row, messages, models, limit)
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
        if attempt.cut:
            count_cut()
        if attempt.cut and limit.raise_once():
            continue  # the same question
        messages += [
            {"role": "assistant", "content": text},
            {"role": "user", "content": feedback_prompt(fault)},
        ]
    reason = CUT if attempt.cut else f"{attempt.by} found fault each time"
    return {**row, "attempts": attempts, "reason": reason}


@dataclass
class _TokenLimit:
    """The token limit of a row's structures; it is raised once, if the server accepts it."""

    tokens: int
    may_rise: bool = True

    def raise_once(self) -> bool:
        """Raise the limit, and return whether that was done."""
        if not self.may_rise:
            return False
        self.tokens *= LIMIT_FACTOR
        self.may_rise = False
        return True


@dataclass(frozen=True)
class _Attempt:
    """A structure, and whether it passes.

    Attributes:
        structure: in the canonical form if it passed, else as it was written.
        by: "rules" or "verifier", whichever decided.
        passed: None if the verifier says neither PASS nor FAIL.
        fault: the feedback, where it did not pass.
        cut: whether it was cut off at its token limit.
    """

    structure: str
    by: str
    passed: bool | None
    fault: str
    cut: bool = False


async def _attempt(
    row: Row, messages: list[dict[str, str]], models: PairModels, limit: _TokenLimit
) -> _Attempt:
    reply = await _write(messages, models, limit)
    text = break_control(_answer_of(reply))
    if reply.is_cut:
        fault = f"It was cut off at {limit.tokens} tokens. Write fewer words in each part."
        return _Attempt(text, "rules", False, fault, cut=True)
    too_long = reply.completion_tokens > limit.tokens
    structure, fault = check_structure(text, row["problem"], row["reasoning_path"], too_long)
    if structure is None:
        return _Attempt(text, "rules", False, fault)
    passed, fault = await _verify(row, structure, models)
    return _Attempt(structure if passed else text, "verifier", passed, fault)


async def _write(messages: list[dict[str, str]], models: PairModels, limit: _TokenLimit) -> Reply:
    """Return the generator's reply; where it rejects a raised limit, that of the first limit."""
    while True:
        try:
            return await models.generator.complete(
                messages, temperature=0.0, max_tokens=limit.tokens, stop=[END]
            )
        except EndpointError as error:
            if not error.refuses_text or limit.tokens == models.generator_tokens:
                raise
            limit.tokens = models.generator_tokens


def _answer_of(reply: Reply) -> str:
    """Return a reply's text after its thinking.

    A server with a reasoning parser delivers the whole reply of a model that does not think as
    thinking; then this is the answer, unless it was cut off.
    """
    answer = after_thinking(reply.text)
    return answer if answer or reply.is_cut else after_thinking(reply.thinking)


async def _verify(row: Row, structure: str, models: PairModels) -> tuple[bool | None, str]:
    """Return whether the verifier passes a structure, and its feedback; None if it says neither."""
    prompt = verify_prompt(row["domain"], row["problem"], row["reasoning_path"], structure)
    answer = ""
    for temperature in (0.0, 0.7):  # the retry must be able to differ
        reply = await models.verifier.complete(
            [{"role": "user", "content": prompt}],
            temperature=temperature,
            max_tokens=models.verifier_tokens,
        )
        answer = _answer_of(reply)
        passed, feedback = read_verification(answer)
        if passed and reply.is_cut:
            continue  # the missing end may withdraw it
        if passed is not None:
            return passed, feedback
    return None, answer
