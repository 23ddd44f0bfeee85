"""What our rules find wrong in a generated structure, and what they read without a fault."""

import pytest

from rlkd_plugin.gsrm import FormatError, parse_structure
from rlkd_plugin.rlkd_data.structure_faults import check_structure

PROBLEM = "Add 2 and 3, then double the sum."
PATH = "2 + 3 = 5. Twice that is 10."
CANONICAL = (
    "[Meta-reasoning 1]: Add the two numbers.\n[Sub-problem 1]: What is 2 + 3?\n[Answer 1]: 5\n\n"
    "[Meta-reasoning 2]: Then double the sum.\n[Sub-problem 2]: What is 2 * 5?\n[Answer 2]: 10\n\n"
    "So the final answer is: 10"
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(CANONICAL, id="canonical"),
        pytest.param(CANONICAL.replace("a-r", "a\u2011r"), id="non-breaking hyphens"),
        pytest.param(CANONICAL.replace("er 1", "er\u202f1"), id="narrow spaces"),
        pytest.param(
            CANONICAL.replace("[", "\u3010").replace("]:", "\u3011\uff1a"), id="lenticular"
        ),
        pytest.param(
            CANONICAL.replace("[", "\uff3b").replace("]:", "\uff3d\uff1a"), id="full-width"
        ),
        pytest.param(CANONICAL.replace("\n\n[", "\n\n### Step 2\n["), id="headings"),
        pytest.param(CANONICAL.replace("\n\n", "\n\n---\n\n"), id="rules"),
        pytest.param(CANONICAL.replace("[", "- ["), id="list marks"),
        pytest.param(CANONICAL.replace("[", "### ["), id="tags as headings"),
        pytest.param(CANONICAL.replace("[", "**[").replace("]:", "]:**"), id="bold"),
        pytest.param(f"```markdown\n{CANONICAL}\n```", id="a fence"),
        pytest.param(f"{CANONICAL}\n[End]", id="the end"),
        pytest.param(
            CANONICAL.replace("So the", "**So the").replace("is:", "is:**"), id="bold end"
        ),
    ],
)
def test_a_look_alike_and_layout_are_no_fault(text: str) -> None:
    """What is kept is the canonical form: neither gets into the training data."""
    assert check_structure(text, PROBLEM, PATH) == (CANONICAL, "")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param(
            CANONICAL.replace("[", "### ").replace("]:", ""), "no brackets", id="headings alone"
        ),
        pytest.param(CANONICAL.replace("1]", "\u2460]"), "\\u2460", id="another digit"),
        pytest.param(CANONICAL.replace("1]", "12345]"), "12345", id="a large number"),
    ],
)
def test_a_fault_names_what_is_read_as_no_tag(text: str, named: str) -> None:
    structure, fault = check_structure(text, PROBLEM, PATH)
    assert structure is None
    assert "It is not in the form of the instruction" in fault and named in fault
    assert "[Meta-reasoning 1]: ... [Sub-problem 1]: ... [Answer 1]: ..." in fault
    with pytest.raises(FormatError):
        parse_structure(text)
