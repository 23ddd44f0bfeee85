"""Computes request time-outs for long responses.

The default of `RLKD_REQUEST_TIMEOUT`, 300 seconds, suits a structure or a verdict. A response of
32,768 tokens takes longer: the server would need 110 tokens per second for each response.
"""

from rlkd_plugin.llm_io.settings import Settings

TOKENS_PER_SECOND = 5.0
"""Slowest rate of one response before the time-out. A busy server with 64 concurrent responses
reaches 10 to 40 for each; half of 10 leaves room for its queue."""


def response_seconds(max_tokens: int, wait: float = 300.0) -> float:
    """Return the seconds that a response may take.

    Args:
        max_tokens: token limit of the response.
        wait: seconds until its first token.
    """
    return wait + max_tokens / TOKENS_PER_SECOND


def fit_timeout(settings: Settings, max_tokens: int) -> Settings:
    """Return settings with a request time-out for responses of `max_tokens`.

    A time-out that the user has set is kept.
    """
    if "request_timeout" in settings.model_fields_set:
        return settings
    fitted = response_seconds(max_tokens, wait=settings.request_timeout)
    return settings.model_copy(update={"request_timeout": fitted})
