"""The client of evalscope, so that nothing that it writes, prints or logs holds one of our keys.

What a server says is cleansed at the HTTP level, before evalscope or openai's client sees it; and
the key is in the client alone, not in the configuration that evalscope keeps in its folder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io.own_keys import OwnKeys, is_sendable, own_keys, read_key

if TYPE_CHECKING:
    from evalscope.api.model import ModelAPI

NO_KEY = "EMPTY"
"""What is sent to a server that wants no key; openai's client has no way to send none."""
_TRANSFER_HEADERS = ("content-encoding", "content-length", "transfer-encoding")
"""Headers that hold for a body as it was sent, and not as it is read."""


def evalscope_model(url: str, name: str, key_env: str) -> "ModelAPI":
    """Return a model on a server for evalscope to ask.

    Args:
        url: of the server, with /v1.
        name: of the model there.
        key_env: the variable with its key, empty for none.

    Raises:
        EndpointError: if no header can hold the key.
        ImportError: if evalscope is missing.
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
        generate_async = ModelAPI.generate_async  # by `generate`, and so by the client above

    return ServedModel(name, url, key or NO_KEY, http_client=RedactingClient())


def _redact(response: Any, keys: OwnKeys) -> Any:
    """Return a response that was read, without the keys."""
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
    """Blot keys out of the errors of a request; one may quote a broken header."""
    try:
        yield
    except Exception as error:  # of any library below, whose logs show causes as well
        error.args = tuple(keys.redact_error(str(part)) for part in error.args)
        error.__cause__ = error.__context__ = None
        raise
