"""A server of chat completions that gives every row one structure, and remembers the requests."""

import asyncio
import hashlib
import json
import time
import urllib.request
from dataclasses import asdict, dataclass

from aiohttp import web

from tools.stand_ins.hub_shapes import STRUCTURE


@dataclass(frozen=True)
class Request:
    """The model of a request, the problem in its prompt, and the time of its arrival."""

    model: str
    problem: str
    time: float


def serve(port: int, latency: float) -> None:
    """Answer every request after the latency; GET /requests returns the requests and forgets them.

    The verifier's answer is PASS; an embedding is made of a text's hash, and of whether it is about
    primes, as `rlkd subset` checks first.
    """
    requests: list[Request] = []

    async def complete(request: web.Request) -> web.Response:
        body = await request.json()
        content = body["messages"][0]["content"]
        problem = content.rpartition("⟦problem⟧\n")[2].partition("\n")[0]
        requests.append(Request(body["model"], problem, time.time()))
        await asyncio.sleep(latency)
        text = "PASS" if body["model"] == "verifier" else STRUCTURE
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {}})

    async def embed(request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(latency)
        data = [
            {
                "index": place,
                "embedding": [
                    1.0 + 1e4 * ("primes" in text),
                    *hashlib.sha256(text.encode()).digest()[:8],
                ],
            }
            for place, text in enumerate(body["input"])
        ]
        return web.json_response({"data": data, "usage": {}})

    async def tell(request: web.Request) -> web.Response:
        rows = [asdict(one) for one in requests]
        requests.clear()
        return web.json_response(rows)

    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_post("/v1/embeddings", embed)
    app.router.add_get("/requests", tell)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


def take_requests(port: int) -> list[Request]:
    """Return the requests since the last call; waits until the server is up."""
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/requests") as reply:
                return [Request(**row) for row in json.load(reply)]
        except OSError:
            time.sleep(0.1)
