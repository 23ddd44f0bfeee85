"""Shows the important lines of a GRPO run's output as they come; writes all lines to a file.

    swift rlhf ... 2>&1 | python tools/show_progress.py output/console.log

ms-swift prints its arguments, the model's layers and a 1500-character line for each step. This
script shows the plugin's own lines, errors, and the step's numbers that the demo is about.
"""

import ast
import sys
from pathlib import Path

MARKS = ("rlkd: ", "model_parameter_info: ", "last_model_checkpoint: ")
ERRORS = ("[ERROR", "Traceback (most recent call last)", "Error: ")
NUMBERS = {
    "reward": "reward",
    "structure": "rlkd/structure_reward",
    "matched depth": "rlkd/matched_depth",
    "accuracy": "rewards/MathAccuracy/mean",
    "cut off": "completions/clipped_ratio",
}


def display_text(line: str) -> str | None:
    """Return what to show of one line of output, None for nothing."""
    line = line.rpartition("\r")[2].rstrip()  # what a progress bar drew before
    if line.startswith("{'loss'"):
        return step_line(line)
    if any(mark in line for mark in ERRORS):
        return line
    place = min((line.find(mark) for mark in MARKS if mark in line), default=-1)
    return line[place:] if place >= 0 else None


def step_line(line: str) -> str:
    """Return the numbers of a logged step, ms-swift's line itself if it cannot be read."""
    try:
        entry = ast.literal_eval(line)
    except (ValueError, SyntaxError):
        return line
    numbers = "  ".join(f"{name} {entry.get(key, '-')}" for name, key in NUMBERS.items())
    return f"step {entry.get('global_step/max_steps')}  {numbers}  ({entry.get('elapsed_time')})"


def main() -> None:
    """Copy standard input into the file named on the command line, and show the important lines."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with Path(sys.argv[1]).open("wb") as log:
        for raw in sys.stdin.buffer:
            log.write(raw)
            log.flush()
            if (line := display_text(raw.decode("utf-8", errors="replace"))) is not None:
                print(line, flush=True)


if __name__ == "__main__":
    main()
