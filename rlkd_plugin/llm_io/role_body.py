"""Parses and checks the setting with a role's further request keys.

Pure. Not here: keys that a server rejects (`request_options`).
"""

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo
from pydantic_settings import NoDecode

_FORM = "the plugin sets it itself"
_LIMIT = "set RLKD_{role}_MAX_TOKENS"
_CONSTRAINT = "replies are read as text; set RLKD_GSRM_REGEX to constrain a GSRM"
_OWN_KEYS = {
    "messages": _FORM,
    "prompt": _FORM,
    "input": _FORM,
    "stream": _FORM,
    "stream_options": _FORM,
    "n": "each request is for one reply",
    "best_of": "each request is for one reply",
    "echo": _FORM,
    "stop": _FORM,
    "logprobs": _FORM,
    "top_logprobs": _FORM,
    "return_tokens_as_token_ids": _FORM,
    "encoding_format": _FORM,
    "model": "set RLKD_{role}_MODEL",
    "max_tokens": _LIMIT,
    "max_completion_tokens": _LIMIT,
    "response_format": _CONSTRAINT,
    "structured_outputs": _CONSTRAINT,
    "guided_choice": _CONSTRAINT,
    "guided_regex": _CONSTRAINT,
    "guided_json": _CONSTRAINT,
    "guided_grammar": _CONSTRAINT,
    "extra_body": "write its keys directly into the object",
}
"""Keys that are not allowed, with the reason or the setting to use instead."""
_STUDENT_KEYS = {
    "max_tokens": "give --max-tokens",
    "max_completion_tokens": "give --max-tokens",
    "temperature": "give --temperature",
    "seed": "the responses to one question must differ",
}
"""Further such keys for `rlkd diversity`, which reports temperature and limit."""
_EXAMPLE = 'write {"chat_template_kwargs": {"enable_thinking": false}}'


def _read_body(value: object, info: ValidationInfo) -> object:
    """Return the object of a JSON text; no message shows a value, which may be a key."""
    role = str(info.field_name).removesuffix("_body").upper()
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=_no_constant, object_pairs_hook=_each_once)
        except json.JSONDecodeError as error:
            place = f"{error.msg} at column {error.colno}"
            raise ValueError(
                f"not JSON ({place}); {_EXAMPLE}, in YAML between single quotes"
            ) from None
        except RecursionError:
            raise ValueError(f"JSON that is nested too deeply; {_EXAMPLE}") from None
    if not isinstance(value, dict):
        raise ValueError(f"JSON, but not an object; {_EXAMPLE}")
    own = _OWN_KEYS | (_STUDENT_KEYS if role == "STUDENT" else {})
    for key in value:
        if key in own:
            raise ValueError(f"it must not hold {key!r}: {own[key].format(role=role)}")
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


Body = Annotated[dict[str, Any], NoDecode, BeforeValidator(_read_body)]
"""Further keys of a role's requests; in the environment a JSON object."""
