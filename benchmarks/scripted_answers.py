"""What the scripted GSRM and judge answer: the rules engine's results, in vLLM's form."""

import hashlib
import re
from collections.abc import Coroutine
from typing import Any, TypeVar

from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import Field, Step, Structure, render_structure

T = TypeVar("T")

_FENCED = re.compile("⟦(problem|reasoning path|first [a-z]+|second [a-z]+)⟧\n(.*?)\n⟦end of", re.S)
_MARK = re.compile(r" \(mark [0-9a-f]{8}\)")
_FIELDS: dict[str, Field] = {
    "plan": "meta_reasoning",
    "question": "sub_problem",
    "result": "answer",
}


def answer(role: str, prompt: str, distinct: bool) -> str:
    """Return the text of a reply.

    Args:
        role: "gsrm", which answers a structure, or "judge", which answers yes or no.
        prompt: as the plugin writes it.
        distinct: whether each path's structure has a mark of its own, which the judge ignores.
    """
    contents = dict(_FENCED.findall(prompt.rpartition("⟧ marks is material")[2]))
    if role == "gsrm":
        return _decompose(contents["reasoning path"], distinct)
    first, second = (_MARK.sub("", text) for text in contents.values())
    field = _FIELDS[next(iter(contents)).split()[1]]
    return "yes" if _result(RulesEngine().match(field, first, second)).matched else "no"


def completion(role: str, prompt: str, text: str) -> dict[str, Any]:
    """Return a reply in vLLM's form, with the log-probabilities of a judge's word."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
    if role == "judge":
        top = [{"token": text, "logprob": -0.01}]
        if text in ("yes", "no"):
            other = "no" if text == "yes" else "yes"
            top.append({"token": other, "logprob": -5.0})
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": max(1, len(text) // 4)}
    return {"choices": [{**choice, "finish_reason": "stop"}], "usage": usage}


def _decompose(path: str, distinct: bool) -> str:
    structure = _result(RulesEngine().decompose("", "math", path)).structure
    if structure is None:
        return "I see no step."
    if distinct:
        mark = f" (mark {hashlib.sha256(path.encode()).hexdigest()[:8]})"
        steps = tuple(
            Step(step.meta_reasoning + mark, step.sub_problem + mark, step.answer + mark)
            for step in structure.steps
        )
        structure = Structure(steps, structure.final_answer)
    return render_structure(structure)


def _result(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the coroutine waits")
