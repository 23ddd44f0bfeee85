"""Completions as vLLM streams them, for the loopback server, whole and with every kind of fault."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response, StreamingResponse

from tests.support.loopback import Answer, Asked

EVENT_STREAM = "text/event-stream"


def event(value: Any) -> bytes:
    """Return a server-sent event with a value as JSON."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8") + b"\n\n"


def part(**delta: Any) -> dict[str, Any]:
    """Return an event's value that adds to the message."""
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}


def finish(reason: str | None = "stop") -> dict[str, Any]:
    """Return an event's value that ends the message."""
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def events_of(text: str, size: int = 4, **finished: Any) -> list[bytes]:
    """Return the events of a completion, one for each `size` characters."""
    parts = [part(content=text[i : i + size]) for i in range(0, len(text), size)]
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(parts)}}
    values = [part(role="assistant", content=""), *parts, finish(**finished), usage]
    return [*map(event, values), b"data: [DONE]\n\n"]


@dataclass
class Stream:
    """An answer that streams, and how far it got.

    Attributes:
        events: what is sent, one after another.
        pause: seconds before each.
        breaks: whether the connection is cut behind the last event.
        sent: how many events were sent, of all requests.
        closed: requests that were closed before the last event.
    """

    events: Sequence[bytes]
    pause: float = 0.0
    breaks: bool = False
    sent: int = 0
    closed: int = 0
    asked: list[Asked] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Response:
        self.asked.append(asked)
        return StreamingResponse(self._send(), media_type=EVENT_STREAM)

    async def _send(self) -> AsyncIterator[bytes]:
        ended = False
        try:
            for one in self.events:
                await asyncio.sleep(self.pause)
                yield one
                self.sent += 1
            ended = True
            if self.breaks:
                raise ConnectionResetError
        finally:
            self.closed += not ended


def streamed(text: str, size: int = 4, **finished: Any) -> Answer:
    """Answer with a stream of this text."""
    return Stream(events_of(text, size, **finished))
