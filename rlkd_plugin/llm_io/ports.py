"""Finds a free port for a server, and checks that a server can listen on a port."""

import secrets
import socket
from collections import deque
from contextlib import suppress

from rlkd_plugin.gsrm import RlkdError

OWN_PORTS = range(20_000, 29_000)
"""Below the ports that Linux assigns by itself, from 32768 on, and torchrun's 29500."""
_returned: deque[int] = deque(maxlen=64)
"""The newest ports, whose servers may not listen yet."""


def check_port(port: int) -> int:
    """Return a port on which a server can listen on all addresses; for 0 a free one.

    A port whose last connections are being closed (TIME_WAIT) is free, as servers set SO_REUSEADDR.

    Raises:
        RlkdError: if another process listens on the port, or it is not permitted.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind(("", port))
        except OSError as error:
            raise RlkdError(
                f"port {port} cannot be used ({error.strerror}): stop the server that uses it, or "
                "give another --port, and set the same port for its clients (a recipe's "
                "vllm_server_port, RLKD_GSRM_BASE_URL, RLKD_JUDGE_BASE_URL)"
            ) from None
        return place.getsockname()[1]


def free_port() -> int:
    """Return a free port for a server that listens on it later.

    The port is drawn from `OWN_PORTS`: one that the system assigned could be assigned again, to a
    socket of another process, before the server has started.

    Raises:
        RlkdError: if none is free.
    """
    for _ in OWN_PORTS:
        port = secrets.choice(OWN_PORTS)  # a seed of `random` must not repeat it
        if port in _returned:
            continue
        with suppress(OSError), socket.create_server(("", port)):
            _returned.append(port)
            return port
    first, last = OWN_PORTS[0], OWN_PORTS[-1]
    raise RlkdError(f"no port from {first} to {last} is free: stop servers that are not needed")
