"""Chooses the engine and the cache by the settings."""

import logging
from collections.abc import Sequence

from rlkd_plugin.engines.base import Engine, TeacherCache
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.llm_io.prompted_engine import Role
from rlkd_plugin.llm_io.server_engine import ROLES, ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.teacher_cache import DiskCache

logger = logging.getLogger(__name__)


def choose_engine(
    settings: Settings, roles: Sequence[Role] = ROLES, *, reserves: bool = True
) -> tuple[Engine, TeacherCache | None]:
    """Return the engine of `RLKD_ENGINE`, not entered yet, and its cache.

    Args:
        settings: name the engine and its servers.
        roles: the models that are used: a GSRM, a judge or both.
        reserves: as `ServerEngine`.

    Raises:
        RlkdError: if the engine lacks a setting.
    """
    if settings.engine == "small":
        # imports torch and ms-swift, which no other engine needs
        from rlkd_plugin.swift_hooks.local.small_engine import SmallEngine

        logger.warning(
            "rlkd: RLKD_ENGINE=small is a small learned stand-in for a GSRM, trained on "
            "grade-school mathematics; the paper's set-up is RLKD_ENGINE=server"
        )
        small = SmallEngine(settings)
        return small, DiskCache(settings.cache_dir, small)
    if settings.engine == "rules":
        logger.warning(
            "rlkd: RLKD_ENGINE=rules is a stand-in for a GSRM and a judge: the loop runs without "
            "a model, and its rewards say nothing about the paper's method"
        )
        return RulesEngine(), None
    engine = ServerEngine(settings, roles, reserves=reserves)
    return engine, DiskCache(settings.cache_dir, engine)
