"""The parts of every data job: its source rows, runner, result file, progress and cost."""
