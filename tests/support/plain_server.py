"""A small chat server on loopback, for jobs that have a client of their own (evalscope)."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            said = reply(body)
            said = {"content": said} if isinstance(said, str) else said
            message = {"role": "assistant", **said}
            made = {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": finish}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
            if refuse:
                made = {"error": {"message": refuse, "type": "BadRequestError", "code": 400}}
            data = json.dumps(made).encode()
            self.send_response(400 if refuse else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
