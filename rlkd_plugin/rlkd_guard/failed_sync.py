"""How `swift rollout` logs a weight sync that failed, and what the user is told then.

ms-swift's workers (`llm_worker`, `async_llm_worker`) log the failure and go on serving, and the
trainer is told nothing. Failures in vLLM's engines and in their workers end up in this line too:
each part of a sync is one `collective_rpc`.
"""

FAILED_SYNC = r"Method execution failed: (collective_rpc|reset_prefix_cache)"
"""Regex: the server did not load the weights, or still caches what older ones made. Its other
failures reach the trainer (`infer` is answered with status 500) or are not about the weights."""


def stale_server_message(reason: str) -> str:
    """Return what the user is told of a server that is ended for it.

    Args:
        reason: the server's own words.
    """
    return (
        f"the rollout server did not take the student's weights ({reason}): it is ended, for its "
        "completions would be those of an older student. The traceback is above: put its cause "
        "right, and resume the training from its last checkpoint"
    )
