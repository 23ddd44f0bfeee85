"""What ms-swift's own servers (`swift rollout`, `swift deploy`) would pass over, ends them.

Their trainer or client is told nothing of either: a port that is taken is exchanged for the next
one, and a weight update that failed is logged. The plugin is loaded in the server and in each of
its workers (`--external_plugins`), so it sees both where they happen.
"""

import logging
import multiprocessing
import os
import re
import signal

import swift.arguments.deploy_args as deploy_args
from swift.utils import get_logger

from rlkd_plugin.llm_io.ports import check_port

FAILED = re.compile(r"Method execution failed: (collective_rpc|reset_prefix_cache)\n")
"""What a worker of `swift rollout` logs when it has not loaded the weights, or still caches what
older ones made, and goes on (`llm_worker`, `async_llm_worker`). Its other failures reach the
trainer (`infer` is answered with status 500) or have nothing to do with the weights."""

logger = get_logger()


def end_stale_server(reason: str) -> None:
    """End the server of this worker, with one sentence."""
    logger.error(
        f"rlkd: the rollout server did not take the student's weights ({reason}); it ends, for its "
        "completions would be those of an older student. The traceback is above: put its cause "
        "right, and resume the training from its last checkpoint"
    )
    server = multiprocessing.parent_process()
    if server and server.pid:
        os.kill(server.pid, signal.SIGTERM)
    # at once: the server waits for our answer, and gets its end; our engine's processes end with us
    os._exit(1)


class FailedUpdates(logging.Handler):
    """Ends a rollout server that logs that it did not take the student's weights."""

    def emit(self, record: logging.LogRecord) -> None:
        """Read one message."""
        if FAILED.match(message := record.getMessage()):
            end_stale_server(message.strip().splitlines()[-1])


HANDLER = FailedUpdates(logging.ERROR)


def watch_own_servers() -> None:
    """Make ms-swift's servers end where they would go on; a second call changes nothing."""
    logger.addHandler(HANDLER)
    deploy_args.find_free_port = check_port
