"""RLKD for ms-swift: distil a teacher's reasoning structure into a student by GRPO.

Nothing is imported here, so that `rlkd_plugin.gsrm` stays free of torch and ms-swift.
"""

__version__ = "0.2.0"
