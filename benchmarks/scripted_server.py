"""A GSRM and a judge with fixed latencies and a capacity, which can fail in every way of the table.

    python benchmarks/scripted_server.py 8399 --gsrm 2 --judge 0.1 --capacity 64 [--faults 0.2]

It answers by the rules engine, so what it says depends on nothing but the texts. With `--distinct`
each path's structure has a mark of its own, so that no two texts are equal and every question needs
the judge, as it is with real students. A fault comes before, in place of or within a right answer,
and passes; but one path or question in 500 is refused for good (HTTP 400) with `--refuse`.
GET /stats says what was asked and which faults came; `--outage N` closes the port for 30 s at the
N-th request.
"""

import argparse
import asyncio
import hashlib
import json
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import Step, Structure, render_structure

OUTAGE_SECONDS = 30.0
HANG_SECONDS = 60.0
_FENCED = re.compile("⟦(problem|reasoning path|first [a-z]+|second [a-z]+)⟧\n(.*?)\n⟦end of", re.S)
_MARK = re.compile(r" \(mark [0-9a-f]{8}\)")

STATUSES = (408, 425, 429, 500, 502, 503, 504)
FAULTS = (
    *(f"HTTP {status}" for status in STATUSES),
    *("connection reset", "reply cut off", "hangs"),
    *("broken JSON", "no choice", "empty completion", "no structure or verdict"),
)


def answer_of(role: str, prompt: str, distinct: bool) -> str:
    """Return a structure, or yes or no."""
    contents = dict(_FENCED.findall(prompt.rpartition("⟧ marks is material")[2]))
    rules = RulesEngine()
    if role == "gsrm":
        path = contents["reasoning path"]
        found = asyncio_free(rules.decompose("", "math", path)).structure
        if found is None:
            return "I see no step."
        if distinct:
            mark = f" (mark {hashlib.sha256(path.encode()).hexdigest()[:8]})"
            steps = tuple(
                Step(s.meta_reasoning + mark, s.sub_problem + mark, s.answer + mark)
                for s in found.steps
            )
            found = Structure(steps, found.final_answer)
        return render_structure(found)
    first, second = (_MARK.sub("", text) for text in contents.values())
    plan = next(iter(contents)).split()[1]
    field = {"plan": "meta_reasoning", "question": "sub_problem", "result": "answer"}[plan]
    return "yes" if asyncio_free(rules.match(field, first, second)).matched else "no"


def asyncio_free(coroutine: Awaitable[Any]) -> Any:
    """Return the result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def completion(role: str, prompt: str, text: str) -> dict[str, Any]:
    """Return a reply in vLLM's form, with log-probabilities of a judge's word."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
    if role == "judge":
        other = {"yes": "no", "no": "yes"}.get(text, "yes")
        top = [{"token": text, "logprob": -0.01}, {"token": other, "logprob": -5.0}]
        if text not in ("yes", "no"):
            top = [{"token": text, "logprob": -0.01}]
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": max(1, len(text) // 4)}
    return {"choices": [{**choice, "finish_reason": "stop"}], "usage": usage}


class Server:
    """The scripted server.

    Args:
        latency: seconds of a request of each role.
        capacity: requests that are worked on at once.
        faults: share of requests that meet one.
        distinct: whether each path's structure has its own mark.
        refuse: whether one text in 500 is refused.
        outages: numbers of requests at which the port closes.
        seed: of the faults.
    """

    def __init__(
        self,
        latency: dict[str, float],
        capacity: int,
        *,
        faults: float = 0.0,
        distinct: bool = False,
        refuse: bool = False,
        outages: tuple[int, ...] = (),
        seed: int = 0,
    ) -> None:
        self.latency = latency
        self.slots = asyncio.Semaphore(capacity)
        self.faults = faults
        self.distinct = distinct
        self.refuse = refuse
        self.outages = outages
        self.dice = random.Random(seed)
        self.asked: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.close: Callable[[], Awaitable[None]] | None = None
        self._known: dict[str, str] = {}
        self._outage: asyncio.Task[None] | None = None

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat request."""
        body = await request.json()
        role = "judge" if "judge" in body["model"] else "gsrm"
        prompt = body["messages"][0]["content"]
        self.asked[role] += 1
        if sum(self.asked.values()) in self.outages and self.close is not None:
            self.met["outage"] += 1
            self._outage = asyncio.create_task(self.close())
        fault = self.dice.choice(FAULTS) if self.dice.random() < self.faults else ""
        first_ask = not body["temperature"] and "structured_outputs" not in body
        if fault == "no structure or verdict" and not first_ask:
            fault = ""  # asked twice in vain is no fault that passes
        if fault:
            self.met[fault] += 1
        async with self.slots:
            await asyncio.sleep(self.latency[role])
        key = hashlib.sha256(prompt.encode()).hexdigest()
        if self.refuse and int(key, 16) % 500 == 0 and "⟧" in prompt:
            self.met["refused for good"] += 1
            return web.json_response({"error": {"message": "this text is refused"}}, status=400)
        if "⟧" not in prompt:  # a probe
            return web.json_response(completion(role, prompt, "yes"))
        if key not in self._known:
            self._known[key] = answer_of(role, prompt, self.distinct)
        return await self._reply(request, role, prompt, self._known[key], fault)

    async def _reply(
        self, request: web.Request, role: str, prompt: str, text: str, fault: str
    ) -> web.StreamResponse:
        if fault.startswith("HTTP"):
            status = int(fault.split()[1])
            headers = {"Retry-After": "1"} if status in (429, 503) else {}
            return web.json_response({"error": "so it is"}, status=status, headers=headers)
        if fault == "connection reset":
            request.transport.abort()
            return web.Response()
        if fault == "hangs":
            await asyncio.sleep(HANG_SECONDS)
        if fault == "empty completion":
            text = ""
        elif fault == "no structure or verdict":
            text = "perhaps"
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
        """Say what was asked since the last time, and which faults came."""
        said = {"asked": dict(self.asked), "faults": dict(self.met), "now": time.time()}
        if "reset" in request.query:
            self.asked.clear()
            self.met.clear()
        return web.json_response(said)


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


def run(port: int, latency: dict[str, float], capacity: int, **options: Any) -> None:
    """Serve in this process."""

    async def work() -> None:
        await serve(Server(latency, capacity, **options), port)

    asyncio.run(work())


def main() -> None:
    """Serve as the command line says."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("port", type=int)
    options.add_argument("--gsrm", type=float, default=0.0)
    options.add_argument("--judge", type=float, default=0.0)
    options.add_argument("--capacity", type=int, default=64)
    options.add_argument("--faults", type=float, default=0.0)
    options.add_argument("--distinct", action="store_true")
    options.add_argument("--refuse", action="store_true")
    options.add_argument("--outage", type=int, action="append", default=[])
    args = options.parse_args()
    latency = {"gsrm": args.gsrm, "judge": args.judge}
    faults = {"faults": args.faults, "distinct": args.distinct, "refuse": args.refuse}
    run(args.port, latency, args.capacity, outages=tuple(args.outage), **faults)


if __name__ == "__main__":
    main()
