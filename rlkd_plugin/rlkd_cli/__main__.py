"""`python -m rlkd_plugin.rlkd_cli`: the `rlkd` command of a clone that is not installed."""

from rlkd_plugin.rlkd_cli.app import app

if __name__ == "__main__":  # a worker process imports it under another name
    app()
