"""Runs a task of evalscope, whose own client asks the servers."""

import logging
from typing import Any

from rlkd_plugin.gsrm import EndpointError


def run_evalscope(task: Any) -> None:
    """Draw and score the samples of a `TaskConfig`.

    Raises:
        EndpointError: if the server fails, or rejects our requests; the message quotes it. Also if
            a reply cannot be written.
    """
    from evalscope import run_task
    from openai import OpenAIError

    for noisy in ("httpx", "httpx2"):  # a line for each request
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        run_task(task)
    except OpenAIError as error:
        raise EndpointError(f"{task.api_url}: {error}") from error
    except UnicodeEncodeError as error:  # evalscope writes no surrogates
        half = error.object[error.start]
        raise EndpointError(
            f"{task.api_url}: a reply holds half a surrogate pair, which evalscope cannot write: "
            f"{half!a}"
        ) from error
