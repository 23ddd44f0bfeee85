"""What the scripted GSRM and judge answer, in vLLM's form: whole, or as the events of a stream.

The texts are the rules engine's results. Pure: nothing here waits or sends.
"""

import hashlib
import json
import re
from collections.abc import Coroutine
from typing import Any, TypeVar

from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import Field, Step, Structure, render_structure

T = TypeVar("T")

CHARS_PER_TOKEN = 4
DONE = b"data: [DONE]\n\n"

_FENCED = re.compile("⟦(problem|reasoning path|first [a-z]+|second [a-z]+)⟧\n(.*?)\n⟦end of", re.S)
_MARK = re.compile(r" \(mark [0-9a-f]{8}\)")
_FIELDS: dict[str, Field] = {
    "plan": "meta_reasoning",
    "question": "sub_problem",
    "result": "answer",
}


def answer(role: str, prompt: str) -> str:
    """Return the text of a reply by the rules engine.

    Args:
        role: "gsrm", which answers a structure, or "judge", which answers yes or no.
        prompt: as the plugin writes it.
    """
    contents = contents_of(prompt)
    if role == "gsrm":
        structure = decompose(contents["reasoning path"])
        return "I see no step." if structure is None else render_structure(structure)
    first, second = (_MARK.sub("", text) for text in contents.values())
    field = _FIELDS[next(iter(contents)).split()[1]]
    return "yes" if _result(RulesEngine().match(field, first, second)).matched else "no"


def distinct_answer(role: str, prompt: str) -> str:
    """Return the same, but each path's structure has a mark of its own, which the judge ignores.

    So no two texts are equal, and every question needs the judge, as with real students.
    """
    if role == "gsrm":
        path = contents_of(prompt)["reasoning path"]
        if (structure := decompose(path)) is not None:
            return render_structure(marked(structure, path))
    return answer(role, prompt)


def contents_of(prompt: str) -> dict[str, str]:
    """Return what a prompt fences, by the names of its fences."""
    return dict(_FENCED.findall(prompt.rpartition("⟧ marks is material")[2]))


def decompose(path: str) -> Structure | None:
    """Return the structure of a path by the rules engine."""
    return _result(RulesEngine().decompose("", "math", path)).structure


def marked(structure: Structure, path: str) -> Structure:
    """Return a structure whose fields carry the mark of its path."""
    mark = f" (mark {hashlib.sha256(path.encode()).hexdigest()[:8]})"
    steps = tuple(
        Step(step.meta_reasoning + mark, step.sub_problem + mark, step.answer + mark)
        for step in structure.steps
    )
    return Structure(steps, structure.final_answer)


def count_tokens(text: str) -> int:
    """Return the tokens of a text."""
    return -(-len(text) // CHARS_PER_TOKEN)


def completion(role: str, prompt: str, text: str) -> dict[str, Any]:
    """Return a whole reply, with the log-probabilities of a judge's word."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
    if role == "judge":
        top = [{"token": text, "logprob": -0.01}]
        if text in ("yes", "no"):
            other = "no" if text == "yes" else "yes"
            top.append({"token": other, "logprob": -5.0})
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    return {"choices": [{**choice, "finish_reason": "stop"}], "usage": _usage(prompt, text)}


def first_event() -> bytes:
    """Return the event that begins a stream: the role, and no text."""
    return _choice_event({"role": "assistant", "content": ""})


def text_event(text: str) -> bytes:
    """Return the event of a part of the text."""
    return _choice_event({"content": text})


def last_event() -> bytes:
    """Return the event that says why the text ends."""
    return _choice_event({"content": ""}, "stop")


def usage_event(prompt: str, text: str) -> bytes:
    """Return the event of the tokens, which has no choice."""
    return _event({"choices": [], "usage": _usage(prompt, text)})


def _choice_event(delta: dict[str, str], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return _event({"choices": [choice]})


def _event(fields: dict[str, Any]) -> bytes:
    head = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0, "model": "gsrm"}
    return b"data: " + json.dumps({**head, **fields}).encode() + b"\n\n"


def _usage(prompt: str, text: str) -> dict[str, int]:
    asked, said = count_tokens(prompt), max(1, count_tokens(text))
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _result(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the coroutine waits")
