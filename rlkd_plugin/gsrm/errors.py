"""The three exceptions of the package.

Each is also a standard-library type, flat and picklable, so that a worker process can pass it to
the trainer. The message names the wrong value and the remedy.
"""


class RlkdError(Exception):
    """A setting, a column or a file is wrong; the message says which, and what to do."""


class EndpointError(RlkdError, RuntimeError):
    """A server cannot be used: it rejects our requests, is no model server, or keeps failing.

    `status` is the HTTP status of the last reply, None without one. 400, 413 and 422 concern one
    text: retrying that text is useless, but other texts may succeed.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])

    @property
    def refuses_text(self) -> bool:
        """Whether the server rejects only this text."""
        return self.status in (400, 413, 422)


class FormatError(RlkdError, ValueError):
    """A text has the wrong format, for example a structure without a whole step."""
