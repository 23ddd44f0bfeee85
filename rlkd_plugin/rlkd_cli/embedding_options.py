"""What `rlkd subset` and `rlkd diversity` share: an option of the local embedding model."""

from typing import Annotated

import typer

TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run code that comes with the local embedding model; read it first.",
    ),
]
