"""An option of the local embedding model, for `rlkd subset` and `rlkd diversity`."""

from typing import Annotated

import typer

TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run code that comes with the local embedding model; read it first.",
    ),
]
