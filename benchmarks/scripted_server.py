"""A GSRM and a judge of known speeds and a capacity, which can fail in every known way.

    python -m benchmarks.scripted_server 8399 --gsrm 0.2 --rate 100 --judge 0.1 [--faults 0.2]

It answers by the rules engine, so its answers depend on nothing but the texts. With `--distinct`
each path's structure has a mark of its own, so that no two texts are equal and every question needs
the judge, as with real students. The GSRM writes `--rate` tokens a second after its latency,
whether it streams or not, and stops when the client closes the request. A fault comes before, in
place of or within a right answer, and a retry succeeds; but with `--refuse` one path or question in
500 is rejected at every try (HTTP 400). GET /stats returns the counts of requests, of faults, of
tokens written and of requests that the client closed; `--outage N` closes the port for 30 s at the
N-th request.
"""

import argparse
import asyncio
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from benchmarks.scripted_answers import (
    CHARS_PER_TOKEN,
    DONE,
    answer,
    completion,
    count_tokens,
    distinct_answer,
    first_event,
    last_event,
    text_event,
    usage_event,
)

OUTAGE_SECONDS = 30.0
HANG_SECONDS = 60.0
FAULTS = (
    "HTTP 408",
    "HTTP 425",
    "HTTP 429",
    "HTTP 500",
    "HTTP 502",
    "HTTP 503",
    "HTTP 504",
    "connection reset",
    "reply cut off",
    "hangs",
    "broken JSON",
    "no choice",
    "empty completion",
    "no structure or verdict",
)
WITHIN_STREAMS = (
    "stream cut off",
    "stream without an end",
    "stream with a broken event",
    "stream with an error",
    "stream hangs",
    "stream without usage",
)
"""Faults of requests that stream; a stream without usage is right otherwise."""
COUNTERS = ("requests", "faults", "written", "closed")


@dataclass(frozen=True)
class Script:
    """The behaviour of the server.

    Attributes:
        gsrm: seconds of a request to the GSRM, without those of its tokens.
        judge: seconds of a request to the judge.
        capacity: requests that are worked on at once.
        tokens_per_second: that the GSRM writes for each request, 4 characters each; 0: all at once.
        stream_interval: tokens of an event of a stream.
        faults: share of requests that meet a fault.
        answer: what is written, by the role ("gsrm" or "judge") and the prompt.
        refuse: whether one text in 500 is rejected at every try.
        outages: numbers of the requests at which the port closes.
        seed: of the faults.
    """

    gsrm: float = 0.0
    judge: float = 0.0
    capacity: int = 64
    tokens_per_second: float = 0.0
    stream_interval: int = 1
    faults: float = 0.0
    answer: Callable[[str, str], str] = answer
    refuse: bool = False
    outages: tuple[int, ...] = ()
    seed: int = 0

    def latency(self, role: str) -> float:
        """Return the seconds of a request to a role, without those of its tokens."""
        return {"gsrm": self.gsrm, "judge": self.judge}[role]

    def rate(self, role: str) -> float:
        """Return the tokens a second that a role writes; 0: all at once."""
        return self.tokens_per_second if role == "gsrm" else 0.0


@dataclass(frozen=True)
class Asked:
    """A request, with the answer to it and the fault that it meets, if any."""

    request: web.Request
    role: str
    prompt: str
    text: str
    fault: str
    has_usage: bool


class TokenClock:
    """When each token of an answer is written; waits add up to no drift.

    Args:
        rate: tokens a second; 0: all at once.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._begin = time.monotonic()

    async def wait_for(self, tokens: int) -> None:
        """Wait until so many tokens are written."""
        if self._rate:
            left = self._begin + tokens / self._rate - time.monotonic()
            if left > 0:
                await asyncio.sleep(left)

    def written(self, tokens: int) -> int:
        """Return how many tokens of an answer are written now."""
        if not self._rate:
            return tokens
        return min(tokens, int((time.monotonic() - self._begin) * self._rate))


class Server:
    """The scripted server."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.slots = asyncio.Semaphore(script.capacity)
        self.dice = random.Random(script.seed)
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.written: Counter[str] = Counter()  # tokens
        self.closed: Counter[str] = Counter()  # requests, by the client
        self.close: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._answers: dict[str, str] = {}
        self._outage: asyncio.Task[None] | None = None

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat request."""
        body = await request.json()
        role = "judge" if "judge" in body["model"] else "gsrm"
        prompt = body["messages"][0]["content"]
        self.requests[role] += 1
        if sum(self.requests.values()) in self.script.outages and self.close is not None:
            self.faults["outage"] += 1
            self._outage = asyncio.create_task(self.close())
        streams = body.get("stream", False)
        has_usage = (body.get("stream_options") or {}).get("include_usage", False)
        fault = self._choose_fault(body, streams)
        try:
            async with self.slots:
                await asyncio.sleep(self.script.latency(role))
                if self._is_rejected(prompt):
                    self.faults["rejected at every try"] += 1
                    error = {"message": "this text is rejected"}
                    return web.json_response({"error": error}, status=400)
                is_probe = "⟧" not in prompt
                text = "yes" if is_probe else self._answer(role, prompt, fault)
                asked = Asked(request, role, prompt, text, "" if is_probe else fault, has_usage)
                return await (self._stream(asked) if streams else self._write(asked))
        except asyncio.CancelledError:
            self._count_closed(role)
            raise
        except ConnectionResetError:
            self._count_closed(role)
            return web.Response()  # nobody reads it

    def _count_closed(self, role: str) -> None:
        if self._outage is None or self._outage.done():
            self.closed[role] += 1

    def _is_rejected(self, prompt: str) -> bool:
        return self.script.refuse and int(_key(prompt), 16) % 500 == 0 and "⟧" in prompt

    def _answer(self, role: str, prompt: str, fault: str) -> str:
        key = _key(prompt)
        if key not in self._answers:
            self._answers[key] = self.script.answer(role, prompt)
        wrong = {"empty completion": "", "no structure or verdict": "perhaps"}
        return wrong.get(fault, self._answers[key])

    def _choose_fault(self, body: dict[str, Any], streams: bool) -> str:
        kinds = FAULTS + WITHIN_STREAMS if streams else FAULTS
        fault = self.dice.choice(kinds) if self.dice.random() < self.script.faults else ""
        first_try = not body["temperature"] and "structured_outputs" not in body
        if fault == "no structure or verdict" and not first_try:
            return ""  # a second one would count against the text
        if fault:
            self.faults[fault] += 1
        return fault

    async def _write(self, asked: Asked) -> web.StreamResponse:
        """Answer with a whole reply."""
        request, fault = asked.request, asked.fault
        if (failed := await _fail_at_once(asked)) is not None:
            return failed
        clock, tokens = TokenClock(self.script.rate(asked.role)), count_tokens(asked.text)
        try:
            await clock.wait_for(tokens)
        finally:
            self.written[asked.role] += clock.written(tokens)
        payload = json.dumps(completion(asked.role, asked.prompt, asked.text)).encode()
        if fault == "broken JSON":
            payload = payload[: len(payload) // 2]
        elif fault == "no choice":
            payload = b'{"choices": []}'
        if fault == "reply cut off":
            cut = web.StreamResponse(headers={"Content-Length": str(len(payload))})
            await cut.prepare(request)
            await cut.write(payload[: len(payload) // 2])
            assert request.transport is not None
            request.transport.close()
            return cut
        return web.Response(body=payload, content_type="application/json")

    async def _stream(self, asked: Asked) -> web.StreamResponse:
        """Answer with server-sent events; a fault comes in the middle of the text."""
        if asked.fault in ("reply cut off", "broken JSON", "no choice"):
            return await self._write(asked)
        if (failed := await _fail_at_once(asked)) is not None:
            return failed
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(asked.request)
        await response.write(first_event())
        size = CHARS_PER_TOKEN * self.script.stream_interval
        clock, written = TokenClock(self.script.rate(asked.role)), 0
        for begin in range(0, len(asked.text), size):
            end = min(begin + size, len(asked.text))
            if begin <= len(asked.text) // 2 < end and await _breaks(asked, response):
                return response
            tokens = -(-end // CHARS_PER_TOKEN)
            await clock.wait_for(tokens)
            await response.write(text_event(asked.text[begin:end]))
            self.written[asked.role] += tokens - written
            written = tokens
        await response.write(last_event())
        if asked.has_usage and asked.fault != "stream without usage":
            await response.write(usage_event(asked.prompt, asked.text))
        await response.write(DONE)
        return response

    async def stats(self, request: web.Request) -> web.Response:
        """Return the counts; `?reset` sets them to 0."""
        counters = {name: getattr(self, name) for name in COUNTERS}
        counts = {name: dict(counter) for name, counter in counters.items()}
        if "reset" in request.query:
            for counter in counters.values():
                counter.clear()
        return web.json_response({**counts, "now": time.time()})


def _key(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()


async def _fail_at_once(asked: Asked) -> web.StreamResponse | None:
    """Fail before anything is written, if this is the fault."""
    fault = asked.fault
    if fault.startswith("HTTP"):
        status = int(fault.split()[1])
        headers = {"Retry-After": "1"} if status in (429, 503) else {}
        return web.json_response({"error": fault}, status=status, headers=headers)
    if fault == "connection reset":
        assert asked.request.transport is not None
        asked.request.transport.abort()
        return web.Response()
    if fault == "hangs":
        await asyncio.sleep(HANG_SECONDS)
    return None


async def _breaks(asked: Asked, response: web.StreamResponse) -> bool:
    """Do what the fault does in the middle of a stream, and say whether the stream ends there."""
    if asked.fault == "stream cut off":
        assert asked.request.transport is not None
        asked.request.transport.abort()
    elif asked.fault == "stream with a broken event":
        await response.write(text_event("no more")[:-20] + b"\n\n")
    elif asked.fault == "stream with an error":
        await response.write(b'data: {"error": {"message": "the engine is dead", "code": 500}}\n\n')
    elif asked.fault == "stream hangs":
        await asyncio.sleep(HANG_SECONDS)
    return asked.fault in ("stream cut off", "stream without an end", "stream with an error")


async def serve(server: Server, port: int) -> None:
    """Serve for ever; an outage closes the port and every connection."""

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", server.complete)
        app.router.add_get("/stats", server.stats)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        return runner

    runner = await start()

    async def close() -> None:
        nonlocal runner
        await runner.cleanup()
        await asyncio.sleep(OUTAGE_SECONDS)
        runner = await start()

    server.close = close
    await asyncio.Event().wait()


def run(port: int, script: Script) -> None:
    """Serve in this process."""

    async def work() -> None:
        await serve(Server(script), port)

    asyncio.run(work())


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--gsrm", type=float, default=0.0)
    parser.add_argument("--judge", type=float, default=0.0)
    parser.add_argument("--capacity", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--interval", type=int, default=1)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--distinct", action="store_true")
    parser.add_argument("--refuse", action="store_true")
    parser.add_argument("--outage", type=int, action="append", default=[])
    options = parser.parse_args()
    script = Script(
        gsrm=options.gsrm,
        judge=options.judge,
        capacity=options.capacity,
        tokens_per_second=options.rate,
        stream_interval=options.interval,
        faults=options.faults,
        answer=distinct_answer if options.distinct else answer,
        refuse=options.refuse,
        outages=tuple(options.outage),
    )
    run(options.port, script)


if __name__ == "__main__":
    main()
