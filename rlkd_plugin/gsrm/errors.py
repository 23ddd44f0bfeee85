"""The three exceptions of the package.

Each is also a standard-library type, flat and picklable, so that it survives the way from a worker
process to the trainer. The message carries the offending value and the remedy.
"""


class RlkdError(Exception):
    """A setting, a column or a file is wrong, and the message says which and what to do."""


class EndpointError(RlkdError, RuntimeError):
    """A model server cannot be used: it rejects us, is none, or failed past the retry deadline.

    `status` is the HTTP status of the last reply, None where there was no reply. 400, 413 and 422
    are tied to one text: a retry of the same text is useless, another text is not.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])

    @property
    def refuses_text(self) -> bool:
        """Whether the server rejects this one text, and not us."""
        return self.status in (400, 413, 422)


class FormatError(RlkdError, ValueError):
    """A text is not what it has to be, for example a structure without a single whole step."""
