"""Stops ms-swift's own servers (`swift rollout`, `swift deploy`) at two faults that they only log.

Where their port is in use they take the next free one, and after a failed weight sync they continue
with the old weights; the trainer or client learns of neither. The plugin is loaded in the server
and in each of its workers (`--external_plugins`), so it sees both.
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
    """Log the reason and stop the server of this worker."""
    logger.error(f"rlkd: {stale_server_message(reason)}")
    server = multiprocessing.parent_process()
    if server and server.pid:
        os.kill(server.pid, signal.SIGTERM)
    # exit now: the server waits for our answer, and our engine's processes end with us
    os._exit(1)


class FailedSyncs(logging.Handler):
    """Stops a rollout server that logs a failed weight sync."""

    def emit(self, record: logging.LogRecord) -> None:
        """Read one message; report one that cannot be formatted as logging's handlers do."""
        try:
            message = record.getMessage()
        except Exception:
            self.handleError(record)
            return
        if HEAD_OF_FAILURE.match(message):
            end_stale_server(message.strip().splitlines()[-1])


HANDLER = FailedSyncs(logging.ERROR)


def watch_swift_servers() -> None:
    """Make ms-swift's servers stop at these faults; a second call changes nothing."""
    logger.addHandler(HANDLER)
    deploy_args.find_free_port = check_port
