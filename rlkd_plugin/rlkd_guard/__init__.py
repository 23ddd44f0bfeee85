"""`rlkd guard`: runs a command and ends all of its processes with it."""

from rlkd_plugin.rlkd_guard.command import guard, manager_of, runs

__all__ = ["guard", "manager_of", "runs"]
