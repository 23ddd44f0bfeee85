"""`rlkd check`: tests whether a GSRM and a judge reply as the reward needs."""

from rlkd_plugin.rlkd_eval.check.check import check_engine
from rlkd_plugin.rlkd_eval.check.findings import Finding

__all__ = ["Finding", "check_engine"]
