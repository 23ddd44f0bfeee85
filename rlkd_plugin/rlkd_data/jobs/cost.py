"""The cost of a job: requests, tokens and money of each role's servers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import RlkdError


@dataclass(frozen=True)
class Price:
    """Price of a million tokens, in and out."""

    tokens_in: float
    tokens_out: float

    def of(self, usage: Usage) -> float:
        """Return the cost of a usage."""
        tokens_in, tokens_out = usage.prompt_tokens, usage.completion_tokens
        return (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / 1e6


def read_price(text: str) -> Price | None:
    """Read "IN,OUT", the price of a million tokens; None where no price is given.

    Raises:
        RlkdError: if it is not of this form.
    """
    if not text:
        return None
    try:
        price_in, price_out = map(float, text.split(","))
        if not (0 <= price_in < math.inf and 0 <= price_out < math.inf):
            raise ValueError
    except ValueError:
        raise RlkdError(f"{text!r} is not a price: give IN,OUT, for example 2.5,10") from None
    return Price(price_in, price_out)


@dataclass(frozen=True)
class RoleCost:
    """The usage of a role's servers, counted while the job runs, and the price if known."""

    role: str
    usage: Usage
    price: Price | None = None

    @property
    def money(self) -> str:
        """The cost so far, to follow the tokens in a line; empty without a price."""
        return f", cost {self.price.of(self.usage):.2f}" if self.price else ""


@dataclass(frozen=True)
class Cost:
    """The cost of a job, role by role."""

    roles: Sequence[RoleCost] = ()

    def progress(self) -> str:
        """Return tokens and cost so far, in one line."""
        return ", ".join(
            f"{part.role} {part.usage.prompt_tokens:,} + {part.usage.completion_tokens:,} tokens"
            + part.money
            for part in self.roles
        )

    def summary(self) -> list[str]:
        """Return a line for each role, and one for the total cost of several."""
        lines = []
        for part in self.roles:
            usage = part.usage
            tokens = f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out"
            if usage.requests and not usage.prompt_tokens:
                tokens = "the server counts no tokens"
            lines.append(
                f"{part.role}: {usage.requests:,} requests, {usage.retries:,} retries, "
                + tokens
                + part.money
            )
        spent = [part.price.of(part.usage) for part in self.roles if part.price]
        if len(spent) > 1:
            lines.append(f"cost of this run: {sum(spent):.2f}")
        return lines
