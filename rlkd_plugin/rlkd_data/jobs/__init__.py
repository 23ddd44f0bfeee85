"""What every data job stands on: its source rows, runner, result file and progress."""
