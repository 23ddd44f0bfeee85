"""Tells whether a port can be listened on."""

import socket

from rlkd_plugin.gsrm import RlkdError


def check_port(port: int) -> int:
    """Return a port that is free, as a server finds it that listens on all addresses.

    A port whose last connections are still being closed (TIME_WAIT) is free: servers ask for it
    with SO_REUSEADDR, as we do here. For 0 it is one that the system chooses.

    Raises:
        RlkdError: if another process listens on it, or it may not be used.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind(("", port))
        except OSError as error:
            raise RlkdError(
                f"port {port} cannot be used ({error.strerror}): stop the server that has it, or "
                "give this one another --port, and the same to those who ask it (a recipe's "
                "vllm_server_port, RLKD_GSRM_BASE_URL, RLKD_JUDGE_BASE_URL)"
            ) from None
        return place.getsockname()[1]
