"""Ends ms-swift's own servers (`swift rollout`, `swift deploy`) where they would go on unseen.

They exchange a port that is taken for the next one, and log a weight sync that failed; their
trainer or client is told nothing of either. The plugin is loaded in the server and in each of its
workers (`--external_plugins`), so it sees both where they happen.
"""

import logging
import multiprocessing
import os
import re
import signal

import swift.arguments.deploy_args as deploy_args
from swift.utils import get_logger

from rlkd_plugin.llm_io.ports import check_port
from rlkd_plugin.rlkd_guard.failed_sync import FAILED_SYNC, stale_server_message

HEAD_OF_FAILURE = re.compile(FAILED_SYNC + r"\n")

logger = get_logger()


def end_stale_server(reason: str) -> None:
    """End the server of this worker, with one sentence."""
    logger.error(f"rlkd: {stale_server_message(reason)}")
    server = multiprocessing.parent_process()
    if server and server.pid:
        os.kill(server.pid, signal.SIGTERM)
    # at once: the server waits for our answer, and gets its end; our engine's processes end with us
    os._exit(1)


class FailedSyncs(logging.Handler):
    """Ends a rollout server that logs that it did not take the student's weights."""

    def emit(self, record: logging.LogRecord) -> None:
        """Read one message; one that cannot be formatted is told, as by logging's own handlers."""
        try:
            message = record.getMessage()
        except Exception:
            self.handleError(record)
            return
        if HEAD_OF_FAILURE.match(message):
            end_stale_server(message.strip().splitlines()[-1])


HANDLER = FailedSyncs(logging.ERROR)


def watch_swift_servers() -> None:
    """Make ms-swift's servers end where they would go on; a second call changes nothing."""
    logger.addHandler(HANDLER)
    deploy_args.find_free_port = check_port
