"""`python -m rlkd_plugin.rlkd_cli`: the `rlkd` command of a clone that is not installed."""

from rlkd_plugin.rlkd_cli import run

if __name__ == "__main__":  # a worker process imports it under another name
    run()
