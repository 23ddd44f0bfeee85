"""How long a response of so many tokens may take before its request is given up.

`RLKD_REQUEST_TIMEOUT` fits a structure or a verdict. A response of 32,768 tokens takes longer from
any server: at its 300 seconds the server would need 110 tokens a second for each response.
"""

from rlkd_plugin.llm_io.settings import Settings

TOKENS_PER_SECOND = 5.0
"""The slowest rate of one response that is waited for. A busy server gives each of 64 responses at
once some 10 to 40; half of the slowest leaves room for what waits in its queue."""


def response_seconds(max_tokens: int, wait: float = 300.0) -> float:
    """Return the seconds that a response of at most so many tokens may take.

    Args:
        max_tokens: of the response.
        wait: seconds until its first token.
    """
    return wait + max_tokens / TOKENS_PER_SECOND


def fit_timeout(settings: Settings, max_tokens: int) -> Settings:
    """Return settings whose request time-out fits responses of at most so many tokens.

    A time-out that the user has set stays.
    """
    if "request_timeout" in settings.model_fields_set:
        return settings
    fitted = response_seconds(max_tokens, wait=settings.request_timeout)
    return settings.model_copy(update={"request_timeout": fitted})
