"""What a run and its model achieve: evaluation with pass@k, diversity, the report, curves.

Also the tests of a GSRM and a judge before a run: `check` and `judge_check`. Pure where it can be:
scores (`pass_at_k`, `step_diversity`), figures (`report`). Not here: ms-swift (an engine is handed
in), and the commands and tables (`rlkd_cli`).
"""
