"""Detects completions of an outdated student by ms-swift's off-policy measure.

With `log_rollout_offpolicy_metrics` ms-swift compares the probabilities that the rollout's engine
gave to its own completions with the student's, both from when they were written. `k3_kl` is the
mean over tokens of exp(d) - d - 1, about d^2/2, where d is the difference of the log-probabilities:
0, except for the noise of two ways to compute.

Before the first step of a run both sides have the weights from disk, so its value is this run's
noise. An engine that takes no weights falls behind with each step, and k3_kl grows with the square
of the distance. How small a lag is detected depends on the noise: see docs/recipes.md.
"""

from collections.abc import Mapping, Sequence

from rlkd_plugin.gsrm import RlkdError

MEASURE = "rollout_correction/k3_kl"
"""Key in ms-swift's log."""
STUDENT = "rollout_correction/training_log_ppl"
"""Key of the student's own log-perplexity: exactly 0 where no token was counted."""

EXACT = 1e-7
"""Most noise of a float32 run whose sides compute alike: float32's rounding of k3_kl."""
EXACT_BOUND = 1e-6
"""Bound of such a run."""
BOUND = 1e-2
"""Least bound of any other run: probabilities of tokens that differ by 14% (root mean square)."""
TIMES_NOISE = 16
"""Bound as a multiple of the run's noise: log-probabilities that differ four times as much."""
HIGHEST = 0.1
"""Highest bound: no two ways to compute one model differ by so much (45%)."""
IN_A_ROW = 2
"""Steps above the bound that end a run with noise: one rare token may lift one step."""


def noise_of(history: Sequence[Mapping[str, float]]) -> float | None:
    """Return the measure at a run's first step, None where it was not logged.

    Args:
        history: the run's log, a mapping a logging step; a checkpoint restores it.
    """
    for entry in history:
        if entry.get("step") == 1 and entry.get(STUDENT):
            return entry.get(MEASURE)
    return None


class StalePolicy:
    """Follows the measure of one run.

    Args:
        float32: whether the student computes in float32.
    """

    def __init__(self, float32: bool) -> None:
        self._float32 = float32
        self._above = 0

    def look(self, logs: Mapping[str, float], noise: float | None) -> None:
        """Check the log of the last steps.

        Args:
            logs: ms-swift's values by key, with or without the measure.
            noise: of this run, None if it is not known.

        Raises:
            RlkdError: if the completions are not the student's.
        """
        if MEASURE not in logs or not logs.get(STUDENT):
            return
        exact = self._float32 and noise is not None and noise <= EXACT
        bound = EXACT_BOUND if exact else min(max(BOUND, TIMES_NOISE * (noise or 0.0)), HIGHEST)
        self._above = self._above + 1 if logs[MEASURE] > bound else 0
        if self._above >= (1 if exact else IN_A_ROW):
            raise RlkdError(_error_message(logs[MEASURE], bound, noise))


def _error_message(found: float, bound: float, noise: float | None) -> str:
    at_first = "unknown" if noise is None else f"{noise:.1e}"
    return (
        f"the completions are not those of the current student: {MEASURE} is {found:.1e}, above "
        f"its bound of {bound:.1e} (its noise, at step 1: {at_first}). Most likely the rollout "
        "server did not load the student's weights. Look for `Method execution failed` in its log, "
        "remove the cause, restart the server, and resume from a checkpoint from before the "
        "measure rose. If the two sides are known to compute differently, as with a quantised "
        "server, --log_rollout_offpolicy_metrics false turns this check off"
    )
