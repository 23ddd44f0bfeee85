"""A model server on 127.0.0.1 that follows a script, for the tests.

It serves a GSRM and a judge, told apart by model name, under the one path that the plugin uses,
in the shape of vLLM. It checks every request and keeps it. It reads the prompts on its own: what
the plugin's own functions do with them is what the tests are about.
"""

import asyncio
import json
import math
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from rlkd_plugin.llm_io.ports import free_port

Role = Literal["gsrm", "judge"]

GSRM = "gsrm-7b"
JUDGE = "judge-32b"
PATH = "/v1/chat/completions"
MODELS = "/v1/models"


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    role: Role
    body: dict[str, Any]
    authorization: str | None
    payload: bytes

    @property
    def prompt(self) -> str:
        """The one user message."""
        return self.body["messages"][0]["content"]

    def content(self, name: str) -> str:
        """Return what stands between the last fences of this name: `reasoning path`."""
        begin, end = f"⟦{name}⟧\n", f"\n⟦end of {name}⟧"
        return self.prompt.rpartition(begin)[2].partition(end)[0]

    @property
    def texts(self) -> tuple[str, str]:
        """The two texts of a judge's prompt."""
        names = re.findall("⟦((?:first|second) .*?)⟧", self.prompt)
        return self.content(names[0]), self.content(names[1])


Answer = Callable[[Asked], Response | Awaitable[Response]]
"""What the server does with a request; a plain `Response` is made, or awaited."""


def said(text: str | None, tokens: list[tuple[str, dict[str, float]]] | None = None) -> Answer:
    """Answer with a completion.

    Args:
        text: the message's content.
        tokens: for each generated token its alternatives' probabilities; none are given by
            default.
    """
    logprobs = None
    if tokens is not None:
        logprobs = {"content": [_token(token, top) for token, top in tokens]}
    return raw(
        json.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "logprobs": logprobs,
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
            }
        )
    )


def verdict(probability: float) -> Answer:
    """Answer as a judge with this probability of yes, with log-probabilities where asked for."""
    word = "yes" if probability >= 0.5 else "no"
    top = {"yes": probability, "no": 1 - probability}

    def answer(asked: Asked) -> Response | Awaitable[Response]:
        return said(word, [(word, top)] if asked.body.get("logprobs") else None)(asked)

    return answer


def raw(payload: str | bytes, status: int = 200, **headers: str) -> Answer:
    """Answer with these very bytes; `Retry_After="3"` is the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Response(payload, status, named, media_type="application/json")


def status(code: int, message: str = "so it is", **headers: str) -> Answer:
    """Answer with an error in OpenAI's form."""
    return raw(json.dumps({"error": {"message": message, "code": code}}), code, **headers)


def half_a_json(_: Asked) -> Response:
    """Answer with the first half of a completion."""
    return Response('{"choices": [{"index": 0, "mess', media_type="application/json")


def no_choice(_: Asked) -> Response:
    """Answer with a completion that has no choice."""
    return JSONResponse({"object": "chat.completion", "choices": []})


def cut_connection(_: Asked) -> Response:
    """Close the connection in the middle of the answer's body."""

    def beginning() -> Iterator[bytes]:
        yield b'{"choices": [{"index"'
        raise ConnectionResetError

    return StreamingResponse(beginning(), headers={"Content-Length": "1000"})


async def hang(_: Asked) -> Response:
    """Answer nothing for longer than any test waits."""
    await asyncio.sleep(60)
    return Response(status_code=500)


def structure_of(path: str) -> str:
    """Return the structure that the server's GSRM gives a path: a step for each of its lines.

    A line's last number, else its last word, is the step's answer.
    """
    lines = [line.strip() for line in path.splitlines() if re.search(r"\w", line)]
    if not lines:
        return "There is nothing to decompose."
    steps = []
    for number, line in enumerate(lines[:16], start=1):
        answer = (re.findall(r"\d+", line) or re.findall(r"\w+", line))[-1]
        steps.append(
            f"[Meta-reasoning {number}]: plan to {line}\n[Sub-problem {number}]: what is {line}?\n"
            f"[Answer {number}]: {answer}"
        )
    return "\n\n".join([*steps, f"So the final answer is: {answer}"])


def same_words(one: str, other: str) -> bool:
    """Say whether two texts have the same words: the judge's rule unless a test sets another."""
    left, right = (sorted(re.findall(r"\w+", text.lower())) for text in (one, other))
    return left == right


class Loopback:
    """The server; it runs while it is entered, and listens at the same port when started anew.

    `then` queues answers to a role's next requests, `always` sets what a role answers after
    those. Without either the GSRM answers `structure_of` and the judge by `matches`.

    Attributes:
        asked: the requests in the order in which they arrived.
        complaints: what was wrong with them; a test fails where there is one.
        key: where set, a request without this bearer token gets 401.
        delay: seconds before each answer.
        most_in_flight: the most requests that were unanswered at one time.
        matches: the judge's rule, given the teacher's and the student's text.
        models: the reply to `/v1/models`, as JSON; a text is sent as it is, None is a 404.
        listed: how often it was asked for, with which keys.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.complaints: list[str] = []
        self.key: str | None = None
        self.delay = 0.0
        self.most_in_flight = 0
        self.matches: Callable[[str, str], bool] = same_words
        self.models: Any = {"data": [{"id": name, "root": f"hub/{name}"} for name in (GSRM, JUDGE)]}
        self.listed: list[str | None] = []
        self._queued: dict[Role, deque[Answer]] = {"gsrm": deque(), "judge": deque()}
        self._always: dict[Role, Answer] = {"gsrm": self._structure, "judge": self._verdict}
        self._in_flight = 0
        self._port = 0
        self._app = FastAPI(openapi_url=None)
        self._app.add_api_route(MODELS, self._list, methods=["GET"], response_model=None)
        self._app.add_api_route(PATH, self._complete, methods=["POST"], response_model=None)
        every_method = ["GET", "POST", "PUT", "DELETE"]
        self._app.add_api_route(
            "/{path:path}", self._elsewhere, methods=every_method, response_model=None
        )

    @property
    def url(self) -> str:
        """The base URL, with /v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    def then(self, role: Role, *answers: Answer) -> None:
        """Queue answers to the role's next requests."""
        self._queued[role].extend(answers)

    def always(self, role: Role, answer: Answer) -> None:
        """Set what the role answers when nothing is queued."""
        self._always[role] = answer

    def of(self, role: Role) -> list[Asked]:
        """Return the role's requests."""
        return [asked for asked in self.asked if asked.role == role]

    def start(self) -> None:
        """Listen; returns when the server answers."""
        # asyncio answers without Nagle's delay where the protocol is named
        listener = socket.socket(proto=socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port = self._port or free_port()  # still free when the server starts again
        listener.bind(("127.0.0.1", self._port))
        config = uvicorn.Config(
            self._app, log_level="critical", loop="asyncio", ws="none", lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.005)
        assert self._server.started, "the loopback server does not start"

    def stop(self) -> None:
        """Close every connection and the port."""
        self._end()
        self._thread.join(timeout=20)
        assert not self._thread.is_alive(), "the loopback server does not stop"

    def __enter__(self) -> "Loopback":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()  # nobody waits for the last connections to close

    def _end(self) -> None:
        self._server.should_exit = self._server.force_exit = True

    async def _complete(self, request: Request) -> Response:
        payload = await request.body()
        try:
            asked = self._read(payload, request.headers.get("Authorization"))
        except (ValueError, LookupError, TypeError, AssertionError) as error:
            self.complaints.append(f"{error!r} in {payload[:500]!r}")
            return JSONResponse({"error": "the test's server does not take this"}, 418)
        self.asked.append(asked)
        if self.key and asked.authorization != f"Bearer {self.key}":
            return JSONResponse({"error": f"no right key: {asked.authorization}"}, 401)
        queued = self._queued[asked.role]
        answer = queued.popleft() if queued else self._always[asked.role]
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            await asyncio.sleep(self.delay)
            response = answer(asked)
            return response if isinstance(response, Response) else await response
        finally:
            self._in_flight -= 1

    async def _list(self, request: Request) -> Response:
        self.listed.append(request.headers.get("Authorization"))
        if self.models is None:
            return JSONResponse({"error": "nothing is here"}, 404)
        payload = self.models if isinstance(self.models, str) else json.dumps(self.models)
        return Response(payload, media_type="application/json")

    async def _elsewhere(self, request: Request) -> Response:
        self.complaints.append(f"{request.method} {request.url.path}")
        return JSONResponse({"error": "nothing is here"}, 404)

    def _read(self, payload: bytes, authorization: str | None) -> Asked:
        body = json.loads(payload.decode("utf-8"))
        json.dumps(body, ensure_ascii=False).encode("utf-8")  # an escaped lone surrogate fails
        role: Role = {GSRM: "gsrm", JUDGE: "judge"}[body["model"]]
        (message,) = body["messages"]
        assert message.keys() == {"role", "content"} and message["role"] == "user"
        assert isinstance(message["content"], str) and "\0" not in message["content"]
        limit = body.get("max_tokens", body.get("max_completion_tokens", 1))
        assert isinstance(limit, int) and limit > 0
        assert isinstance(body.get("temperature", 0), (int, float))
        return Asked(role, body, authorization, payload)

    def _structure(self, asked: Asked) -> Response | Awaitable[Response]:
        return said(structure_of(asked.content("reasoning path")))(asked)

    def _verdict(self, asked: Asked) -> Response | Awaitable[Response]:
        if "1 + 1 = 2" in asked.prompt:
            return verdict(0.9)(asked)
        return verdict(0.9 if self.matches(*asked.texts) else 0.1)(asked)


def _token(token: str, top: dict[str, float]) -> dict[str, Any]:
    logs = {t: math.log(p) if p > 0 else -9999.0 for t, p in top.items()}
    return {
        "token": token,
        "logprob": logs.get(token, -1.0),
        "top_logprobs": [{"token": t, "logprob": log, "bytes": None} for t, log in logs.items()],
    }
