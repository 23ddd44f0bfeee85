"""`rlkd guard`, which leaves no process behind."""

from rlkd_plugin.rlkd_guard.command import guard, manager_of, runs

__all__ = ["guard", "manager_of", "runs"]
