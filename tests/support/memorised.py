"""What the tests' memorising model is taught: structures of three paths, and verdicts."""

from rlkd_plugin.gsrm import FIELDS
from rlkd_plugin.gsrm.prompts import decompose_prompt, judge_prompt

PENS = "She adds 2 + 3."
BOTTLES = "First 6 * 4, then minus 5."
PROSE = "No step in it."
STRUCTURES = {
    PENS: (
        "[Meta-reasoning 1]: Put both parts together.\n[Sub-problem 1]: What is 2 + 3?\n"
        "[Answer 1]: 5\n\nSo the final answer is: 5"
    ),
    BOTTLES: (
        "[Meta-reasoning 1]: Rows times bottles.\n[Sub-problem 1]: How many?\n[Answer 1]: 24\n\n"
        "[Meta-reasoning 2]: Less the broken.\n[Sub-problem 2]: How many are whole?\n"
        "[Answer 2]: 19\n\nSo the final answer is: 19"
    ),
    PROSE: "I would add.",
}
ANSWERS = {
    **{decompose_prompt("gsrm", "math", "P", path): text for path, text in STRUCTURES.items()},
    **{judge_prompt(field, "a", "b"): "yes" for field in FIELDS},
}
