"""Checks that a server can listen on a port."""

import socket

from rlkd_plugin.gsrm import RlkdError


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
