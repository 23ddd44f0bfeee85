"""A GSRM and a judge with fixed latencies and a capacity, which can fail in every known way.

    python -m benchmarks.scripted_server 8399 --gsrm 2 --judge 0.1 --capacity 64 [--faults 0.2]

It answers by the rules engine, so its answers depend on nothing but the texts. With `--distinct`
each path's structure has a mark of its own, so that no two texts are equal and every question needs
the judge, as with real students. A fault comes before, in place of or within a right answer, and a
retry succeeds; but with `--refuse` one path or question in 500 is rejected at every try (HTTP 400).
GET /stats returns the counts of requests and faults; `--outage N` closes the port for 30 s at the
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

from benchmarks.scripted_answers import answer, completion

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


@dataclass(frozen=True)
class Script:
    """How the server behaves.

    Attributes:
        gsrm: seconds of a request to the GSRM.
        judge: seconds of a request to the judge.
        capacity: requests that are worked on at once.
        faults: share of requests that meet a fault.
        distinct: whether each path's structure has a mark of its own.
        refuse: whether one text in 500 is rejected at every try.
        outages: numbers of the requests at which the port closes.
        seed: of the faults.
    """

    gsrm: float = 0.0
    judge: float = 0.0
    capacity: int = 64
    faults: float = 0.0
    distinct: bool = False
    refuse: bool = False
    outages: tuple[int, ...] = ()
    seed: int = 0

    def latency(self, role: str) -> float:
        """Return the seconds of a request to a role."""
        return {"gsrm": self.gsrm, "judge": self.judge}[role]


class Server:
    """The scripted server."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.slots = asyncio.Semaphore(script.capacity)
        self.dice = random.Random(script.seed)
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
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
        fault = self._choose_fault(body)
        async with self.slots:
            await asyncio.sleep(self.script.latency(role))
        key = hashlib.sha256(prompt.encode()).hexdigest()
        if self.script.refuse and int(key, 16) % 500 == 0 and "⟧" in prompt:
            self.faults["rejected at every try"] += 1
            return web.json_response({"error": {"message": "this text is rejected"}}, status=400)
        if "⟧" not in prompt:  # a probe
            return web.json_response(completion(role, prompt, "yes"))
        if key not in self._answers:
            self._answers[key] = answer(role, prompt, self.script.distinct)
        if fault:
            return await self._fail(request, role, prompt, self._answers[key], fault)
        return web.json_response(completion(role, prompt, self._answers[key]))

    def _choose_fault(self, body: dict[str, Any]) -> str:
        fault = self.dice.choice(FAULTS) if self.dice.random() < self.script.faults else ""
        first_try = not body["temperature"] and "structured_outputs" not in body
        if fault == "no structure or verdict" and not first_try:
            return ""  # a second one would count against the text
        if fault:
            self.faults[fault] += 1
        return fault

    async def _fail(
        self, request: web.Request, role: str, prompt: str, text: str, fault: str
    ) -> web.StreamResponse:
        if fault.startswith("HTTP"):
            status = int(fault.split()[1])
            headers = {"Retry-After": "1"} if status in (429, 503) else {}
            return web.json_response({"error": fault}, status=status, headers=headers)
        assert request.transport is not None
        if fault == "connection reset":
            request.transport.abort()
            return web.Response()
        if fault == "hangs":
            await asyncio.sleep(HANG_SECONDS)
        text = {"empty completion": "", "no structure or verdict": "perhaps"}.get(fault, text)
        payload = json.dumps(completion(role, prompt, text)).encode()
        if fault == "broken JSON":
            payload = payload[: len(payload) // 2]
        elif fault == "no choice":
            payload = b'{"choices": []}'
        if fault == "reply cut off":
            cut = web.StreamResponse(headers={"Content-Length": str(len(payload))})
            await cut.prepare(request)
            await cut.write(payload[: len(payload) // 2])
            request.transport.close()
            return cut
        return web.Response(body=payload, content_type="application/json")

    async def stats(self, request: web.Request) -> web.Response:
        """Return the counts of requests and faults; `?reset` sets them to 0."""
        counts = {"requests": dict(self.requests), "faults": dict(self.faults), "now": time.time()}
        if "reset" in request.query:
            self.requests.clear()
            self.faults.clear()
        return web.json_response(counts)


async def serve(server: Server, port: int) -> None:
    """Serve for ever; an outage closes the port and every connection."""

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", server.complete)
        app.router.add_get("/stats", server.stats)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
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
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--distinct", action="store_true")
    parser.add_argument("--refuse", action="store_true")
    parser.add_argument("--outage", type=int, action="append", default=[])
    options = parser.parse_args()
    script = Script(
        gsrm=options.gsrm,
        judge=options.judge,
        capacity=options.capacity,
        faults=options.faults,
        distinct=options.distinct,
        refuse=options.refuse,
        outages=tuple(options.outage),
    )
    run(options.port, script)


if __name__ == "__main__":
    main()
