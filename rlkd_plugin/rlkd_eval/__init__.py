"""Measures a run and its model: evaluation with pass@k, diversity, the report, curves.

Also the checks of a GSRM and a judge before a run: `check` and `judge_check`. Scores (`pass_at_k`,
`step_diversity`) and figures (`report`) are pure. Not here: ms-swift (an engine is passed in), and
the commands and tables (`rlkd_cli`).
"""
