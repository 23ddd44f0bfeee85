"""What every data job uses: its source rows, runner, result file, progress and cost."""
