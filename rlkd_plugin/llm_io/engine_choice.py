"""Chooses the engine and the cache that the settings name."""

import logging

from rlkd_plugin.engines.base import Engine, TeacherCache
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.llm_io.settings import Settings

logger = logging.getLogger(__name__)


def choose_engine(settings: Settings) -> tuple[Engine, TeacherCache | None]:
    """Return the engine of `RLKD_ENGINE`, checked and ready to be entered, and its cache.

    Raises:
        RlkdError: if the engine lacks a setting.
        EndpointError: if one of its servers cannot be used.
    """
    if settings.engine == "rules":
        return RulesEngine(), None
    raise NotImplementedError
