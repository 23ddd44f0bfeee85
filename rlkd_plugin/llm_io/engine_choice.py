"""Chooses the engine and the cache that the settings name."""

import logging

from rlkd_plugin.engines.base import Engine, TeacherCache
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.llm_io.server_engine import ServerEngine, probe_now
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.teacher_cache import DiskCache

logger = logging.getLogger(__name__)


def choose_engine(settings: Settings) -> tuple[Engine, TeacherCache | None]:
    """Return the engine of `RLKD_ENGINE`, checked and ready to be entered, and its cache.

    Raises:
        RlkdError: if the engine lacks a setting.
        EndpointError: if one of its servers cannot be used.
    """
    if settings.engine == "rules":
        logger.warning(
            "rlkd: RLKD_ENGINE=rules is a stand-in for a GSRM and a judge: it lets the loop run "
            "without a model, and its rewards say nothing about the paper's method"
        )
        return RulesEngine(), None
    engine = ServerEngine(settings)
    probe_now(engine)
    return engine, DiskCache(settings.cache_dir, engine.identity)
