"""How `swift rollout` logs a weight sync that failed, and the message about it.

ms-swift's workers (`llm_worker`, `async_llm_worker`) log the failure and continue to serve, and the
trainer gets no report. Failures in vLLM's engines and in their workers end up in this line too:
each part of a sync is one `collective_rpc`.
"""

FAILED_SYNC = r"Method execution failed: (collective_rpc|reset_prefix_cache)"
"""Regex: the server did not load the weights, or still caches results of older ones. Its other
failures reach the trainer (status 500 of `infer`) or are not about the weights."""


def stale_server_message(reason: str) -> str:
    """Return the message about a server that is stopped for a failed sync.

    Args:
        reason: from the server's log.
    """
    return (
        f"the rollout server did not load the student's weights ({reason}): it is stopped, as its "
        "completions would be those of an older student. Correct the cause in the traceback "
        "above, then resume the training from its last checkpoint"
    )
