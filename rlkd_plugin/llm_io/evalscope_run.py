"""Runs a task of evalscope, which sends the requests itself."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io.proxies import is_this_machine


def run_evalscope(task: Any) -> None:
    """Generate and score the samples of a `TaskConfig`.

    Raises:
        EndpointError: if the server fails or rejects a request, with its message; also if a reply
            is no completion, or cannot be written.
    """
    from evalscope import run_task
    from openai import OpenAIError

    for noisy in ("httpx", "httpx2"):  # a line for each request
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        with _bypass_proxy(task.api_url):
            run_task(task)
    except OpenAIError as error:
        raise EndpointError(f"{task.api_url}: {error}") from error
    except UnicodeEncodeError as error:  # evalscope writes no surrogates
        half = error.object[error.start]
        raise EndpointError(
            f"{task.api_url}: a reply holds half a surrogate pair, which evalscope cannot write: "
            f"{half!a}"
        ) from error
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        # a 200 reply that is no completion, for example
        raise EndpointError(
            f"{task.api_url}: evalscope ends with {type(error).__name__}: {error}"
        ) from error


@contextmanager
def _bypass_proxy(url: str) -> Iterator[None]:
    """Bypass the proxy for a server of this machine, which evalscope's client would not."""
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    if is_this_machine(url):
        hosts = before["no_proxy"] or before["NO_PROXY"] or ""
        host = urlsplit(url).hostname or ""
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{hosts},{host}".lstrip(",")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
