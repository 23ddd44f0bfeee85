"""A small chat server on loopback, for jobs that have a client of their own (evalscope)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.json_server import serving

Reply = Callable[[dict[str, Any]], str | dict[str, Any]]


@contextmanager
def plain_server(
    reply: Reply, *, finish: str = "stop", refuse: str = ""
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve while the body runs: the URL with /v1, and the bodies of the requests so far.

    Args:
        reply: makes a response of a request: its text, or its message.
        finish: the reason that all of them end for.
        refuse: words of a 400 in their place.
    """
    asked: list[dict[str, Any]] = []

    def answer(method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked.append(body)
        if refuse:
            return 400, {"error": {"message": refuse, "type": "BadRequestError", "code": 400}}
        said = reply(body)
        said = {"content": said} if isinstance(said, str) else said
        message = {"role": "assistant", **said}
        return 200, {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }

    with serving(answer) as url:
        yield f"{url}/v1", asked
