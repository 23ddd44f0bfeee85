"""A model for evalscope whose files, output and logs contain none of our keys.

Replies are redacted at the HTTP level, before evalscope or openai's client sees them. The key is
only in the client, and not in the configuration that evalscope writes to its folder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io.own_keys import OwnKeys, is_sendable, own_keys, read_key

if TYPE_CHECKING:
    from evalscope.api.model import ModelAPI

NO_KEY = "EMPTY"
"""Sent to a server without a key, as openai's client always sends one."""
_TRANSFER_HEADERS = ("content-encoding", "content-length", "transfer-encoding")
"""Headers that describe the body as it was sent, not as it is read."""


def evalscope_model(url: str, name: str, key_env: str) -> "ModelAPI":
    """Return a model on a server for evalscope.

    Args:
        url: of the server, with /v1.
        name: of the model there.
        key_env: the variable with the key; empty for none.

    Raises:
        EndpointError: if no header can hold the key.
        ImportError: if evalscope is not installed.
    """
    from evalscope.api.model import ModelAPI
    from evalscope.models.openai_compatible import OpenAICompatibleAPI
    from openai import DefaultHttpxClient

    key = read_key(key_env) if key_env else ""
    if not is_sendable(key):
        raise EndpointError(
            f"the API key in {key_env} has a line break or another character that no HTTP header "
            "can hold"
        )
    keys = own_keys(*filter(None, [key_env]))

    class RedactingClient(DefaultHttpxClient):
        def send(self, request: Any, **options: Any) -> Any:
            with _redact_errors(keys):
                response = super().send(request, **options)
                response.read()
            return _redact(response, keys)

    class ServedModel(OpenAICompatibleAPI):
        generate_async = (
            ModelAPI.generate_async
        )  # through `generate`, and so through the client above

    return ServedModel(name, url, key or NO_KEY, http_client=RedactingClient())


def _redact(response: Any, keys: OwnKeys) -> Any:
    """Return a response without the keys."""
    is_error = response.status_code != 200
    headers = [
        (name, keys.redact_error(value))
        for name, value in response.headers.multi_items()
        if name.lower() not in _TRANSFER_HEADERS
    ]
    return type(response)(
        response.status_code,
        headers=headers,
        content=keys.redact_body(response.content, is_error=is_error),
        request=response.request,
    )


@contextmanager
def _redact_errors(keys: OwnKeys) -> Iterator[None]:
    """Remove keys from the errors of a request, which may quote a broken header."""
    try:
        yield
    except Exception as error:  # of any library, as logs show the causes too
        error.args = tuple(keys.redact_error(str(part)) for part in error.args)
        error.__cause__ = error.__context__ = None
        raise
