"""Checks the text of a structure: what is read, what is refused, and that writing is undone."""

import pickle
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlkd_plugin.gsrm import (
    EndpointError,
    FormatError,
    RlkdError,
    Step,
    Structure,
    escape_tags,
    parse_structure,
    render_structure,
)
from rlkd_plugin.gsrm.tags import FINAL, TAG, find_tags
from rlkd_plugin.gsrm.texts import neutralise
from tests.support.watchdog import watchdog

FIGURE_2 = (Path(__file__).parents[1] / "fixtures" / "figure2.txt").read_text(encoding="utf-8")
ONE = "[Meta-reasoning 1]: m1\n[Sub-problem 1]: q1\n[Answer 1]: a1\n"
TWO = ONE + "[Meta-reasoning 2]: m2\n[Sub-problem 2]: q2\n[Answer 2]: a2\n"
STEP_1 = Step("m1", "q1", "a1")
STEP_2 = Step("m2", "q2", "a2")
NAME = (
    "[M\uff2d]\\w*[^\\w\\]\u3011]{0,2}reasoning|Metareasoning|Me\u200bta-reasoning|Meta_reasoning"
)
LOOKS = [
    *(
        "[",
        "\uff3b",
        "\u3010",
        "\u300c",
        "\u27e6",
        "\\[",
        "**[",
        "Meta",
        "-",
        "\u2011",
        "\u00ad",
        "reasoning",
    ),
    *(
        "Sub",
        "problem",
        "Answer",
        "\uff21nswer",
        " ",
        "\u202f",
        "\u200b",
        "1",
        "\uff11",
        "**",
        "_",
        "`",
    ),
    *(
        "]",
        "\uff3d",
        "\u3011",
        "\u300d",
        "\u27e7",
        "\\]",
        ":",
        "\uff1a",
        "\n",
        "So the final answer is",
        "- ",
    ),
    *(
        "[Answer 1]:",
        "\u3010Answer 1\u3011",
        "[Meta\u2011reasoning 1]",
        "\uff3bSub\u2013problem \uff11\uff3d",
    ),
]
LAYOUT = [
    *(
        "\nb. ",
        "\nII. ",
        "\n2.1 ",
        "\n1.2. ",
        "\n2\\. ",
        "\n\u2e3b\n",
        "\n<hr>\n",
        "\n\u00c9tape 2 :\n",
        "\n\u25e6 ",
    ),
    *(
        "\n\nStep 2: Subtract\n",
        "\n\nStep 2 \u2014 Subtract\n",
        "\n\U0001f537 Step 2\n",
        "\n\ub2e8\uacc4 2:\n",
        "\n\u2705 ",
    ),
    *(
        "\n\n### Step 2\n",
        "\n\n---\n",
        "\n2. ",
        "\n2.\n",
        "\n- ",
        "\n> ",
        "\n* ",
        "\n***\n",
        "\n___\n",
        "\n===\n",
    ),
    *(
        "\n\n---\n\n### Step 2\n\n",
        "\n### ",
        "\n\n**Step 2:**\n",
        "\n\nStep 2 of 4\n",
        "\n[Step 2]:\n",
        " ***\n",
    ),
    *(
        "\n```\n\n```\n",
        "\n[End]\n",
        "\n\n\u3010End\u3011\n",
        "\n[ END ]\n",
        "\n**[End]**\n",
        "\n## The sum\n",
    ),
    *(
        "\n### Step 2: Subtract\n",
        "\n\n**Step 2: Subtract**\n",
        "\n#### 2.\n",
        "\n- **",
        "\n> ### ",
        "\n2) ",
    ),
    *(
        "\n\u7b2c2\u6b65\n",
        "\n\u6b65\u9aa4 2\uff1a\n",
        "\n(Step 2)\n",
        "\n--- Step 2 ---\n",
        "\nStep Two\n",
        "\n \u2014 \n",
    ),
    *(
        "\n\u2022 ",
        "\n(2) ",
        "\nStep 2: ",
        "\n### Step 2\n\n---\n\n",
        "\n***\n\n### Step 2\n",
        "\n>\n> ",
        "\n| ",
    ),
    *("\n2\ufe0f\u20e3 ", "\n\u2461 ", "\n\U0001f9e0 **", "\n\U0001f449 ", "\n- [x] "),
    *("\n\n**Final Answer**\n", "\n\nFinal answer:\n"),
]
ANSWERS = [
    *("[Ag(CN)2]-", "PO4 3-", "x[end]", "A[0][end]", "f(x)[end]"),
    *("#####\n#S E#\n#####", "#.#\n###", "+---+\n| x |\n+---+", "=====\n= x =\n=====", "_X_\n___"),
    *(
        "Step 1: a\n\nStep 2: b",
        "Take it.\n\nStep 1: a\nStep 2: b",
        "values:\n2.1",
        "The option is\nb.",
    ),
    *(
        "2.",
        "-",
        "NO3-",
        "e^-",
        "SO4^2-",
        "MnO4-",
        "CH3COO-",
        "[Fe(CN)6]3-",
        "-5",
        "x > 5",
        "> 5",
        "+",
        "*",
        ">",
    ),
    *(
        "#include <x>",
        "#include <x>\nint x;",
        "# comment\nx = 1",
        "x = 1  # comment",
        "x = 1\n# comment",
    ),
    *(
        "1. a\n2. b\n3. c",
        "1) a\n2) b",
        "- a\n- b",
        "* a\n* b",
        "1.\n2.\n3.",
        "Step 2",
        "Step 1\nStep 2",
    ),
    *("a: 1\n---\nb: 2", "```yaml\n---\na: 1\n```", "```python\nx = 1\n```", "```\n# comment\n```"),
    *("| a | b |\n|---|---|\n| 1 | 2 |", "*\n**\n***", "```\n*\n**\n***\n```", "```\n---\n```"),
    *(
        "A*",
        "x_",
        "C#",
        "n!",
        "C++",
        "x =",
        "f'",
        "a | b",
        "\\",
        "~",
        "(2)",
        "5\\%",
        "[1, 2]",
        "kwargs**",
        "--x",
    ),
]


class TestFigure2:
    """The worked example of the paper is read as the paper means it."""

    def test_has_six_steps(self) -> None:
        assert len(parse_structure(FIGURE_2).steps) == 6

    def test_keeps_the_final_answer(self) -> None:
        assert parse_structure(FIGURE_2).final_answer == r"$\frac{3\sqrt{3}}{2}$."

    def test_splits_sub_problem_and_answer_on_one_line(self) -> None:
        step = parse_structure(FIGURE_2).steps[4]
        assert step.sub_problem == r"Does $k = \frac{\sqrt{3}}{2}$ satisfy $s > 0$?"
        assert step.answer == "Yes."

    def test_ends_a_meta_reasoning_at_its_own_text(self) -> None:
        meta = parse_structure(FIGURE_2).steps[5].meta_reasoning
        assert (
            meta == "Finalize the maximum value of the original expression based on the "
            "derived result."
        )

    def test_is_read_back_after_it_was_written(self) -> None:
        structure = parse_structure(FIGURE_2)
        assert parse_structure(render_structure(structure)) == structure


class TestForms:
    """The forms of a tag that models write are read as the canonical one."""

    @pytest.mark.parametrize(
        ("meta", "sub", "answer"),
        [
            pytest.param("[Meat-reasoning 1]:", "[Sub-problem 1]:", "[Answer 1]:", id="meat"),
            pytest.param("[sub-think 1]:", "[Query 1]:", "[Answer 1]:", id="sub-think and query"),
            pytest.param("[Meta-reasoning 1]", "[Sub-problem 1]", "[Answer 1]", id="no colon"),
            pytest.param("[META-REASONING 1]:", "[sub-PROBLEM 1]:", "[answer 1]:", id="case"),
            pytest.param("[mEAT-rEASONING 1]", "[qUERY 1]", "[aNSWER 1]", id="case of an alias"),
            pytest.param(
                "**[Meta-reasoning 1]:**", "**[Sub-problem 1]:**", "**[Answer 1]:**", id="bold"
            ),
            pytest.param(
                "**[Meta-reasoning 1]**:", "**[Sub-problem 1]**:", "**[Answer 1]**:", id="bold tag"
            ),
            pytest.param(
                "**[Meta-reasoning 1]**", "**[Sub-problem 1]**", "**[Answer 1]**", id="bold, bare"
            ),
            pytest.param("[ Meta-reasoning  1 ] :", "[Sub-problem 1] :", "[Answer1]:", id="spaces"),
            pytest.param("[Meta-reasoning 01]:", "[Sub-problem 01]:", "[Answer 01]:", id="zeros"),
            pytest.param(
                "[Meta-reasoning 1]\uff1a",
                "[Sub-problem 1]\uff1a",
                "[Answer 1]\uff1a",
                id="wide colon",
            ),
        ],
    )
    def test_is_read(self, meta: str, sub: str, answer: str) -> None:
        text = f"{meta} m1\n{sub} q1\n{answer} a1"
        assert parse_structure(text) == Structure((STEP_1,))

    def test_aliases_may_change_between_steps(self) -> None:
        text = ONE + "[Meat-reasoning 2] m2 [Query 2] q2 [Answer 2] a2"
        assert parse_structure(text).steps == (STEP_1, STEP_2)

    def test_trailing_dashes_are_no_content(self) -> None:
        text = "[Meta-reasoning 1]: m1 -\n[Sub-problem 1]: q1-\n[Answer 1]: a1 --\n- "
        assert parse_structure(text).steps == (STEP_1,)

    def test_list_marks_before_a_tag_are_no_content(self) -> None:
        text = "- [Meta-reasoning 1]: m1\n- [Sub-problem 1]: q1\n- [Answer 1]: a1"
        assert parse_structure(text).steps == (STEP_1,)

    @pytest.mark.parametrize("ion", ["NO3-", "x = e^-", "OH-"])
    def test_an_answer_keeps_the_dash_of_a_charge(self, ion: str) -> None:
        text = f"[Meta-reasoning 1]: m1\n[Sub-problem 1]: q1\n[Answer 1]: {ion}"
        assert parse_structure(text).steps[0].answer == ion

    def test_a_sub_problem_keeps_no_dash(self) -> None:
        text = ONE.replace("q1", "what is NO3-").replace("m1", "look at e^-")
        step = parse_structure(text).steps[0]
        assert (step.meta_reasoning, step.sub_problem) == ("look at e^", "what is NO3")

    def test_text_before_the_first_tag_is_skipped(self) -> None:
        preamble = "Sure, here it is.\nSo the final answer is: 9\n\n"
        assert parse_structure(preamble + ONE).steps == (STEP_1,)

    def test_a_field_may_have_several_paragraphs(self) -> None:
        text = "[Meta-reasoning 1]: m\n\nand more\n\n[Sub-problem 1]: q1\n[Answer 1]: a1"
        assert parse_structure(text).steps[0].meta_reasoning == "m\n\nand more"

    def test_a_long_s_makes_no_tag(self) -> None:
        text = TWO.replace("[Sub-problem 2]", "[\u017fub-problem 2]")
        assert parse_structure(text).steps == (STEP_1,)

    def test_other_brackets_are_content(self) -> None:
        text = ONE.replace("a1", "the interval [1, 2] by [Theorem 1]")
        assert parse_structure(text).steps[0].answer == "the interval [1, 2] by [Theorem 1]"


def two_steps(between: str, answer: str = "24", end: str = "\nSo the final answer is: 19") -> str:
    """Two steps with something between the first answer and the second tag, and after the last."""
    return (
        f"[Meta-reasoning 1]: m1\n[Sub-problem 1]: q1\n[Answer 1]: {answer}{between}"
        f"[Meta-reasoning 2]: m2\n[Sub-problem 2]: q2\n[Answer 2]: a2{end}"
    )


def read_two_steps(text: str) -> tuple[str, str, str]:
    """The first answer, the second one, and the final answer; all other fields are as written."""
    structure = parse_structure(text)
    assert parse_structure(render_structure(structure)) == structure
    first, second = structure.steps
    assert first == Step("m1", "q1", first.answer)
    assert second == Step("m2", "q2", second.answer)
    return first.answer, second.answer, structure.final_answer


class TestLookAlikes:
    """Tags in characters of other scripts are read as the canonical ones."""

    @pytest.mark.parametrize(
        "tag",
        [
            pytest.param("[Meta\u2011reasoning 1]:", id="non-breaking hyphen"),
            pytest.param("[Meta\u2010reasoning 1]:", id="hyphen"),
            pytest.param("[Meta\u2013reasoning 1]:", id="en dash"),
            pytest.param("[Meta\u2212reasoning 1]:", id="minus"),
            pytest.param("[Meta\uff0dreasoning 1]:", id="full-width hyphen"),
            pytest.param("[Meta\u00adreasoning 1]:", id="soft hyphen"),
            pytest.param("[Meta- reasoning 1]:", id="hyphen and space"),
            pytest.param("[Meta reasoning 1]:", id="a space for the hyphen"),
            pytest.param("[Meta_reasoning 1]:", id="an underscore for the hyphen"),
            pytest.param("[Metareasoning 1]:", id="no hyphen"),
            pytest.param("[Meta-reasoning\u202f1]:", id="narrow space"),
            pytest.param("[Meta-reasoning\u00a01]:", id="non-breaking space"),
            pytest.param("[Meta-reasoning\u30001]:", id="wide space"),
            pytest.param("[Meta-reasoning\u200b 1]:", id="zero width space"),
            pytest.param("\ufeff[Me\u200bta-reasoning 1]\u200b:", id="zero width in the name"),
            pytest.param("\u3010Meta-reasoning 1\u3011\uff1a", id="lenticular brackets"),
            pytest.param(
                "\uff3bMeta-reasoning \uff11\uff3d\uff1a", id="full-width brackets, digit"
            ),
            pytest.param("\u3014Meta-reasoning 1\u3015\ufe55", id="shell brackets, small colon"),
            pytest.param("\u300cMeta-reasoning 1\u300d\ufe13", id="corner brackets, tall colon"),
            pytest.param("\u27e6Meta-reasoning 1\u27e7:", id="the prompts' fences"),
            pytest.param("[Meta-reasoning 1\u3011:", id="brackets of two kinds"),
            pytest.param("[\uff2deta-reasoning 1]\uff1a", id="a full-width letter"),
            pytest.param("\\[Meta-reasoning 1\\]:", id="escaped brackets"),
            pytest.param("__[Meta-reasoning 1]:__", id="bold by underscores"),
            pytest.param("_[Meta-reasoning 1]_:", id="italic"),
            pytest.param("`[Meta-reasoning 1]`:", id="code"),
            pytest.param("[**Meta-reasoning 1**]:", id="bold inside"),
            pytest.param("[Meta-reasoning **1**]:", id="bold number"),
            pytest.param("[Meta-reasoning-1]:", id="hyphen before the number"),
            pytest.param("[Meta-reasoning #1]:", id="number sign"),
            pytest.param("[Meta-reasoning 1:]", id="colon inside"),
            pytest.param("### [Meta-reasoning 1]", id="heading"),
            pytest.param("[Meta-reasoning 1] \u2014", id="a dash for the colon"),
        ],
    )
    @pytest.mark.parametrize("name", ["Meta-reasoning", "Sub-problem", "Answer"])
    def test_is_read(self, tag: str, name: str) -> None:
        squeezed = {"Meta-reasoning": "m1", "Sub-problem": "q1", "Answer": "a1"}
        form = tag if name == "Meta-reasoning" else re.sub(NAME, name, tag)
        lines = {key: f"[{key} 1]: {text}" for key, text in squeezed.items()}
        lines[name] = f"{form} {squeezed[name]}"
        assert parse_structure("\n".join(lines.values())).steps == (STEP_1,)

    def test_three_styles_in_one_text(self) -> None:
        text = (
            "\u3010Meta-reasoning 1\u3011\uff1am1\n\uff3bSub\u2011problem \uff11\uff3d\uff1aq1\n"
            "[Answer 1]: a1\n\n\u3014Meta\u2013reasoning 2\u3015\ufe55m2\n"
            "**[Sub-problem\u202f2]**: q2\n\u300cAnswer 2\u300d: a2\n"
            "So\uff0cthe\u00a0final answer is\uff1a7"
        )
        assert parse_structure(text) == Structure((STEP_1, STEP_2), "7")

    @pytest.mark.parametrize(
        "mention", ["\u3010Answer 1\u3011", "[\uff21nswer 1]", "\u300cAnswer 1\u300d"]
    )
    def test_a_mention_is_content(self, mention: str) -> None:
        structure = parse_structure(TWO.replace("m2", f"by {mention} we know"))
        assert structure.steps[1].meta_reasoning == f"by ({mention[1:-1]}) we know"

    def test_bold_around_tag_and_text_is_no_content(self) -> None:
        text = TWO.replace("[", "**[").replace("1\n", "1**\n").replace("2\n", "2**\n")
        assert parse_structure(text).steps == (STEP_1, STEP_2)

    @pytest.mark.parametrize("answer", ["**24**", "`x`", "__init__", "**kwargs", "2**3"])
    def test_decoration_of_a_text_is_content(self, answer: str) -> None:
        assert parse_structure(ONE.replace("a1", answer)).steps[0].answer == answer
        assert parse_structure(ONE.replace(" a1", answer)).steps[0].answer == answer

    @pytest.mark.parametrize("other", ["\u0661", "\u2460", "-1", "1e5", "12345", "one"])
    def test_another_number_makes_no_tag(self, other: str) -> None:
        with pytest.raises(FormatError, match="no whole step"):
            parse_structure(ONE.replace("1]", f"{other}]"))

    @given(st.lists(st.sampled_from(LOOKS), min_size=1, max_size=8).map("".join))
    def test_no_form_is_read_in_a_neutralised_text(self, text: str) -> None:
        harmless = neutralise(text)
        assert not TAG.search(harmless) and not list(find_tags(harmless))
        assert neutralise(harmless) == harmless
        step = Step(f"m {text}", f"q {text}", f"a {text}")
        assert not TAG.search(step.answer) and not FINAL.search(step.answer)


class TestLayout:
    """Layout between two steps belongs to no field."""

    @pytest.mark.parametrize("between", LAYOUT)
    def test_is_no_content(self, between: str) -> None:
        assert read_two_steps(two_steps(between)) == ("24", "a2", "19")

    @pytest.mark.parametrize("between", LAYOUT)
    @pytest.mark.parametrize("answer", ["2.", "Step 2", "NO3-", "```python\nx = 1\n```", "-"])
    def test_leaves_an_answer_that_looks_like_it(self, between: str, answer: str) -> None:
        assert read_two_steps(two_steps(between, answer))[0] == answer

    @pytest.mark.parametrize("answer", ANSWERS)
    @pytest.mark.parametrize("between", ["\n", "\n\n---\n\n### Step 2\n"])
    def test_keeps_answers(self, answer: str, between: str) -> None:
        assert read_two_steps(two_steps(between, answer))[0] == answer
        assert read_two_steps(two_steps(between, f"\n{answer}\n"))[0] == answer

    @pytest.mark.parametrize(
        "mark", ["- ", "* ", "> ", "1. ", "2) ", "### ", "- **", "> ### ", "\u2022 ", "Step 1: "]
    )
    def test_marks_before_every_tag(self, mark: str) -> None:
        text = "".join(f"{mark}{line}\n" for line in TWO.splitlines())
        assert parse_structure(text).steps == (STEP_1, STEP_2)

    def test_a_quoted_text(self) -> None:
        text = "\n".join(f"> {line}" for line in two_steps("\n\n", "a\nb").split("\n"))
        assert read_two_steps(text) == ("a\nb", "a2", "19")

    def test_a_table(self) -> None:
        rows = [f"| {line.replace(']: ', '] | ')} |" for line in TWO.splitlines()]
        text = "\n".join(["| part | text |", "|---|---|", *rows])
        assert parse_structure(text).steps == (STEP_1, STEP_2)

    @pytest.mark.parametrize("fence", ["```", "```markdown", "~~~", "````text"])
    def test_a_fence_around_the_whole(self, fence: str) -> None:
        closing = fence.strip("markdowntex")
        text = f"Here it is:\n{fence}\n{two_steps(chr(10))}\n{closing}"
        assert read_two_steps(text) == ("24", "a2", "19")

    def test_a_fence_around_each_step(self) -> None:
        text = f"```\n{two_steps(chr(10) + '```' + chr(10) * 2 + '```' + chr(10), end='')}\n```"
        assert read_two_steps(text) == ("24", "a2", "")

    def test_code_in_a_fence_inside_a_fenced_text(self) -> None:
        code = "```python\nx = 1\n```"
        assert read_two_steps(f"```\n{two_steps(chr(10) * 2, code)}\n```")[0] == code

    @pytest.mark.parametrize(
        "end",
        [
            pytest.param("\n**So the final answer is:** 19", id="bold"),
            pytest.param("\n**So the final answer is: 19**", id="bold line"),
            pytest.param("\n### So the final answer is: 19", id="heading"),
            pytest.param("\nSo, the final answer is\uff1a19", id="wide colon"),
            pytest.param("\n\u3010So the final answer is\u3011\uff1a19", id="brackets"),
            pytest.param("\n3. So the final answer is: 19", id="number"),
            pytest.param("\n> So the\u202ffinal answer is: 19", id="quote"),
            pytest.param("\n---\n\nSo the final answer is: 19\n\n---", id="rules"),
            pytest.param("\n### Final answer\nSo the final answer is: 19", id="heading above"),
            pytest.param("\nSo the final answer is: 19\n[End]", id="end"),
            pytest.param("\nSo the final answer is: 19 [End]", id="end in line"),
            pytest.param(
                "\nSo the final answer is: 19\n\u3010END\u3011\nMore.", id="end, then text"
            ),
            pytest.param("\nSo the final answer is: 19\n```", id="fence"),
            pytest.param("\nSo the final answer is: 19\n***", id="stars"),
        ],
    )
    def test_around_the_final_answer(self, end: str) -> None:
        assert read_two_steps(two_steps("\n", end=end)) == ("24", "a2", "19")

    def test_a_box_is_content(self) -> None:
        text = two_steps("\n", end="\nSo the final answer is $\\boxed{19}$")
        assert read_two_steps(text)[2] == "$\\boxed{19}$"

    def test_after_the_end_nothing_is_read(self) -> None:
        text = two_steps("\n", end="\n[End]\n\nproblem\nWhat is 1 + 1?")
        assert read_two_steps(text) == ("24", "a2", "")

    def test_a_node_named_end_is_content(self) -> None:
        answer = "[Start] -> [A] -> [End]"
        assert read_two_steps(two_steps("\n", answer))[0] == answer


class TestHeadingsAlone:
    """Headings without brackets are no tags: a field's text may hold the same lines."""

    @pytest.mark.parametrize("mark", ["### {}", "**{}:**", "{}:", "## {}:"])
    def test_are_an_error_that_shows_the_tag(self, mark: str) -> None:
        names = ("Meta-reasoning 1", "Sub-problem 1", "Answer 1")
        text = "\n".join(f"{mark.format(name)}\ntext" for name in names)
        with pytest.raises(FormatError) as error:
            parse_structure(text)
        assert "[Meta-reasoning 1]:" in str(error.value)
        assert f"{mark.format(names[0])[:8]}" in str(error.value)
        assert "has no brackets" in str(error.value)

    def test_another_number_is_shown_in_ascii(self) -> None:
        with pytest.raises(FormatError, match=r"\[Meta-reasoning \\u2460\].* is not read as a tag"):
            parse_structure(ONE.replace("1]", "\u2460]"))


class TestMentions:
    """A tag that is only spoken of is content, with its brackets made round."""

    def test_of_an_earlier_answer(self) -> None:
        text = ONE + "[Meta-reasoning 2]: by [Answer 1] we know\n[Sub-problem 2]: q2\n[Answer 2] a2"
        assert parse_structure(text).steps[1].meta_reasoning == "by (Answer 1) we know"

    def test_of_a_later_field(self) -> None:
        text = ONE.replace("m1", "as [Answer 1] will say")
        assert parse_structure(text).steps[0].meta_reasoning == "as (Answer 1) will say"

    def test_right_behind_a_tag(self) -> None:
        text = ONE.replace("m1", "[Answer 1] is open")
        assert parse_structure(text).steps[0].meta_reasoning == "(Answer 1) is open"

    def test_at_the_end_of_a_structure(self) -> None:
        structure = parse_structure(TWO.replace("a2", "the same as [Answer 1]"))
        assert structure.steps[1].answer == "the same as (Answer 1)"

    def test_with_a_colon_it_is_a_tag(self) -> None:
        text = TWO.replace("m2", "as [Answer 1]: says")
        assert parse_structure(text).steps == (STEP_1,)

    @pytest.mark.parametrize("mark", ["", "  ", "- ", "### ", "> ", "* "])
    def test_at_the_start_of_a_line_it_is_a_tag(self, mark: str) -> None:
        text = TWO.replace("m2", f"we know\n{mark}[Answer 1] well")
        assert parse_structure(text).steps == (STEP_1,)


class TestBreaks:
    """A broken structure keeps its whole steps before the break, and no final answer."""

    @pytest.mark.parametrize(
        "rest",
        [
            pytest.param("[Meta-reasoning 3]: m\n[Sub-problem 3]: q\n[Answer 3]: a", id="skips"),
            pytest.param("[Meta-reasoning 1]: m\n[Sub-problem 1]: q\n[Answer 1]: a", id="repeats"),
            pytest.param("[Meta-reasoning 0]: m\n[Sub-problem 0]: q\n[Answer 0]: a", id="falls"),
            pytest.param("[Meta-reasoning 2]: m\n[Sub-problem 3]: q\n[Answer 3]: a", id="mixed"),
            pytest.param("[Answer 1]: again", id="answer repeated"),
            pytest.param("[Sub-problem 2]: q\n[Answer 2]: a", id="no meta-reasoning"),
            pytest.param("[Meta-reasoning 2]: m\n[Answer 2]: a", id="no sub-problem"),
            pytest.param("[Meta-reasoning 2]: m\n[Sub-problem 2]: q", id="no answer"),
            pytest.param(
                "[Meta-reasoning 2]: m\n[Sub-problem 2]: q\n[Meta-reasoning 3]: m\n"
                "[Sub-problem 3]: q\n[Answer 3]: a",
                id="no answer, then a step",
            ),
            pytest.param("[Meta-reasoning 2]:\n[Sub-problem 2]: q\n[Answer 2]: a", id="empty meta"),
            pytest.param(
                "[Meta-reasoning 2]: m\n[Sub-problem 2]: -\n[Answer 2]: a", id="only dash"
            ),
            pytest.param(
                "[Meta-reasoning 2]: m\n[Sub-problem 2]: q\n[Answer 2]: \u3000\xa0\n",
                id="empty answer",
            ),
            pytest.param("[Sub-problem 2]: q\n[Meta-reasoning 2]: m\n[Answer 2]: a", id="swapped"),
            pytest.param(
                "[Meta-reasoning 2]: m\n[Answer 2]: a\n[Sub-problem 2]: q", id="answer 1st"
            ),
            pytest.param("[Meta-reasoning 2]: m\n[Sub-pro", id="cut off in a tag"),
            pytest.param("[Meta-reasoning 2]: m and th", id="cut off in the first field"),
            pytest.param("[Meta-reasoning 2]: m\n[Sub-problem 2]: wh", id="cut off in the second"),
        ],
    )
    def test_after_the_first_step(self, rest: str) -> None:
        text = f"{ONE}{rest}\nSo the final answer is: 7"
        assert parse_structure(text) == Structure((STEP_1,))

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("", id="nothing"),
            pytest.param(" \n\u3000", id="white space"),
            pytest.param("I cannot do that.", id="no tag"),
            pytest.param("So the final answer is: 7", id="final answer alone"),
            pytest.param(TWO[len(ONE) :], id="starts at 2"),
            pytest.param(ONE.replace("1", "0"), id="starts at 0"),
            pytest.param(ONE.replace("[Sub-problem 1]: q1\n", ""), id="no sub-problem"),
            pytest.param(ONE.replace("q1", ""), id="empty sub-problem"),
            pytest.param(ONE.replace("a1", "--"), id="empty answer"),
            pytest.param(ONE.replace("q1", "-"), id="a dash for a sub-problem"),
            pytest.param(ONE.replace("a1", "\n- [Meta-reasoning 2]: m2"), id="mark for an answer"),
            pytest.param(
                ONE.replace("a1", "\n### Step 2\n[Meta-reasoning 2]: m2"),
                id="heading for an answer",
            ),
            pytest.param(
                ONE.replace("a1", "\n***\n[Meta-reasoning 2]: m2"), id="rule for an answer"
            ),
            pytest.param(ONE.replace("a1", "\n```\n"), id="fence for an answer"),
            pytest.param(ONE.replace("a1", "[End]"), id="end for an answer"),
            pytest.param("[Answer 1]: a1\n" + ONE, id="answer first"),
            pytest.param("[Meta-reasoning 1]: m1\n[Sub-problem 1]: q1", id="cut off"),
            pytest.param("[Meta-reasoning 10000]: m1", id="number of five digits"),
            pytest.param(ONE.replace("1]", "\u0661]"), id="number in other digits"),
            pytest.param(ONE.replace("[", "(").replace("]", ")"), id="round brackets"),
        ],
    )
    def test_in_the_first_step_is_an_error(self, text: str) -> None:
        with pytest.raises(FormatError, match="no whole step"):
            parse_structure(text)

    def test_a_text_cut_off_in_an_answer_keeps_its_beginning(self) -> None:
        text = TWO[: TWO.index("a2") + 1]
        assert parse_structure(text).steps == (STEP_1, Step("m2", "q2", "a"))

    def test_the_message_shows_the_text_and_the_form(self) -> None:
        with pytest.raises(FormatError) as error:
            parse_structure("I cannot " + "x" * 5000)
        assert "'I cannot xxx" in str(error.value)
        assert "[Meta-reasoning 1]:" in str(error.value)
        assert len(str(error.value)) < 500


class TestFinalAnswer:
    """The final answer is one paragraph behind its phrase."""

    @pytest.mark.parametrize(
        ("rest", "final"),
        [
            pytest.param("", "", id="none"),
            pytest.param("So the final answer is: 7", "7", id="same line"),
            pytest.param("So the final answer is:\n7", "7", id="next line"),
            pytest.param("So the final answer is:\n\n\n7", "7", id="next paragraph"),
            pytest.param("So the final answer is 7", "7", id="no colon"),
            pytest.param("so, The Final Answer is: 7", "7", id="comma and case"),
            pytest.param("**So the final answer is:** 7", "7", id="bold"),
            pytest.param("### So the final answer is: 7", "7", id="heading"),
            pytest.param("So the final answer is: 7\n\nI hope this helps.", "7", id="cut"),
            pytest.param("So the final answer is: x = 1\nor x = 2", "x = 1\nor x = 2", id="lines"),
            pytest.param("So the final answer is:", "", id="empty"),
            pytest.param("So the final answer is: 7\n[Meta-reasoning 2]: m", "7", id="then a tag"),
            pytest.param(
                "So the final answer is: 7\nSo the final answer is: 8",
                "7\n(So the final answer is:) 8",
                id="twice",
            ),
        ],
    )
    def test_is_read(self, rest: str, final: str) -> None:
        structure = parse_structure(ONE + rest)
        assert structure.steps == (STEP_1,)
        assert structure.final_answer == final

    def test_ends_the_last_answer(self) -> None:
        structure = parse_structure(TWO + "\nSo the final answer is: 7")
        assert structure == Structure((STEP_1, STEP_2), "7")

    def test_inside_a_line_is_content(self) -> None:
        structure = parse_structure(ONE.replace("a1", "12, so the final answer is: 12"))
        assert structure.steps[0].answer == "12, so the final answer is: 12"
        assert structure.final_answer == ""


class TestStep:
    """A step has three texts, in the form in which a structure text can hold them."""

    @pytest.mark.parametrize(
        ("empty", "position"),
        [
            *product(
                ["", " ", "\n\u2003\n", "--", " -- - ", "```\n```", "\x1c[End]\nx"], [0, 1, 2]
            ),
            *product(["-"], [0, 1]),  # a dash is an answer: that of "which sign does x have?"
        ],
    )
    def test_refuses_an_empty_field(self, empty: str, position: int) -> None:
        fields = ["m", "q", "a"]
        fields[position] = empty
        with pytest.raises(FormatError, match="is empty"):
            Step(*fields)

    def test_strips_its_fields(self) -> None:
        assert Step("\n m1 -", "\tq1\u3000", " a1\n") == STEP_1

    def test_escapes_tags_in_its_fields(self) -> None:
        step = Step("**[Answer 1]:** is", "[Query 2]", "see [meat-reasoning 3]")
        assert step == Step("(Answer 1): is", "(Query 2)", "see (meat-reasoning 3)")
        assert step.answer == "see (meat-reasoning 3)"

    def test_is_immutable(self) -> None:
        with pytest.raises(AttributeError):
            STEP_1.answer = "other"  # type: ignore[misc]

    def test_pickles(self) -> None:
        assert pickle.loads(pickle.dumps(STEP_1)) == STEP_1


class TestStructureType:
    """A structure has at least one step."""

    def test_refuses_no_step(self) -> None:
        with pytest.raises(FormatError, match="at least one step"):
            Structure(())

    def test_keeps_the_first_paragraph_of_a_final_answer(self) -> None:
        assert Structure((STEP_1,), "\n\n7 \n\nmore").final_answer == "7"

    def test_makes_a_tuple_of_its_steps(self) -> None:
        assert Structure([STEP_1, STEP_2]).steps == (STEP_1, STEP_2)  # type: ignore[arg-type]

    def test_pickles(self) -> None:
        structure = Structure((STEP_1, STEP_2), "7")
        assert pickle.loads(pickle.dumps(structure)) == structure


def test_render_writes_the_canonical_form() -> None:
    assert render_structure(Structure((STEP_1, STEP_2), "7")) == (
        "[Meta-reasoning 1]: m1\n[Sub-problem 1]: q1\n[Answer 1]: a1\n\n"
        "[Meta-reasoning 2]: m2\n[Sub-problem 2]: q2\n[Answer 2]: a2\n\n"
        "So the final answer is: 7"
    )


def test_render_leaves_out_an_empty_final_answer() -> None:
    assert "final answer" not in render_structure(Structure((STEP_1,)))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("as [Answer 1] says", "as (Answer 1) says"),
        ("**[Meta-reasoning 2]:** x", "(Meta-reasoning 2): x"),
        ("[QUERY 0003]", "(QUERY 0003)"),
        ("[[Answer 1]]", "[(Answer 1)]"),
        ("[1, 2] and [Answer]", "[1, 2] and [Answer]"),
    ],
)
def test_escape_tags_makes_brackets_round(text: str, escaped: str) -> None:
    assert escape_tags(text) == escaped


@pytest.mark.parametrize(
    "error",
    [
        RlkdError("RLKD_ENGINE=x is no engine"),
        FormatError("no whole step in ''"),
        EndpointError("http://host:8001 answers 401; set RLKD_GSRM_API_KEY_ENV", 401),
        EndpointError("no reply"),
    ],
)
def test_errors_survive_pickling(error: RlkdError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize(
    ("error", "base"), [(FormatError, ValueError), (EndpointError, RuntimeError)]
)
def test_errors_are_of_a_standard_type_too(error: type[Exception], base: type[Exception]) -> None:
    assert issubclass(error, RlkdError)
    assert issubclass(error, base)


@pytest.mark.parametrize(
    ("status", "refuses"), [(400, True), (413, True), (422, True), (401, False), (None, False)]
)
def test_an_endpoint_error_says_whether_one_text_is_refused(
    status: int | None, refuses: bool
) -> None:
    assert EndpointError("no", status).refuses_text is refuses


# Pieces from which texts are built that try to look like a structure.
PIECES = st.sampled_from(
    [
        *("[Meta-reasoning 1]:", "[Sub-problem 1]", "**[Answer 1]:**", "[Answer 2]:", "[query 1]"),
        *(
            "[Meat-reasoning 2]",
            "[sub-think 1]:",
            "[Answer",
            "1]",
            "[",
            "]",
            "[\u017fub-problem 1]",
        ),
        *("So the final answer is:", "so, the final answer is", "So the final", "answer is:"),
        *("\n", "\n\n", "\r\n", "\r", " ", "\t", "\xa0", "\u2028", "\u3000", "\x1c", "\x85", "\v"),
        *("-", "--", "*", "**", "#", ">", ":", "\uff1a", "^-", "NO3-", "\0", "\ud800", "\udfff"),
        *("x", "A", "12", "\u05d0", "\u200b", "\ufeff", "e\u0301"),
        *(
            "\u3010Answer 1\u3011\uff1a",
            "\uff3bMeta\u2011reasoning \uff11\uff3d",
            "\u300cSub-problem 2",
            "\u300d",
        ),
        *(
            "__[Answer 1]:__",
            "`[Query 1]`",
            "[**Answer 2**:]",
            "\n**So\xa0the final answer is\uff1a",
        ),
        *("\n### Step 2", "\n---", "\n***", " ***", "\n2.", "\n> ", "\n- ", "\n## x", "\n| ", "\\"),
        *("\n```", "```\n", "\n```py\n", "\n~~~", "`", "~", "_", "\u2014", "\u2013"),
        *(
            "[End]",
            "\n[End]\n",
            "\u3010END\u3011",
            "\nStep 2 of 4",
            "\n**Step 2:**",
            "\n\u7b2c2\u6b65",
            "Step 1",
        ),
    ]
)
ANY_CHARACTER = st.characters(exclude_categories=())
TEXTS = st.one_of(
    st.lists(PIECES, max_size=12).map("".join),
    st.lists(st.one_of(PIECES, ANY_CHARACTER), max_size=12).map("".join),
    st.text(ANY_CHARACTER, max_size=20),
)


@st.composite
def structures(draw: st.DrawFn) -> Structure:
    """Structures whose fields are any texts that are not empty as a field."""
    texts = TEXTS.filter(_is_field)
    steps = draw(st.lists(st.builds(Step, texts, texts, texts), min_size=1, max_size=4))
    return Structure(tuple(steps), draw(TEXTS))


def _is_field(text: str) -> bool:
    try:
        Step(text, text, text)
    except FormatError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(structures())
@example(Structure((Step("\xa0So the final answer is: x", "b", "c"),), "9"))
@example(Structure((Step(" " * 9 + "So the final answer is: x", "b", "NO3-"),)))
@example(Structure((Step("x [Meta-reasoning", "1]: y **", "***[Answer 1]***"),), "**[Answer 1]"))
@example(Structure((Step("a", "b", "# x\n[End]\u2014"),), "[End]"))
@example(Structure((Step("a", "b", "x\n[End]*\u2014"),), "# [End]:\u2014"))
@example(Structure((Step("a\n```", "b\n## y", "2.\n\n### Step 2"),), "**x**\n***"))
@example(Structure((Step("a", "b", "c"),), "So the final answer is: So the final answer is: 1"))
def test_a_written_structure_is_read_back_unchanged(structure: Structure) -> None:
    assert parse_structure(render_structure(structure)) == structure


@settings(max_examples=300, deadline=None)
@given(TEXTS.filter(_is_field), st.sampled_from(["meta_reasoning", "sub_problem", "answer"]))
@example("\xa0So the final answer is: x", "answer")
@example("x\n[End]\u2014", "answer")
def test_a_field_in_its_form_stays_as_it_is(text: str, field: str) -> None:
    once = Step(text, text, text)
    twice = Step(once.meta_reasoning, once.sub_problem, once.answer)
    assert getattr(twice, field) == getattr(once, field)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join))
@example("[\u017fub-problem 1]: q")
def test_any_text_is_a_structure_or_a_format_error(text: str) -> None:
    try:
        structure = parse_structure(text)
    except FormatError:
        return
    assert parse_structure(render_structure(structure)) == structure


MEGABYTE = 1_000_000


def _filled(unit: str, start: str = "") -> str:
    return (start + unit * (MEGABYTE // len(unit) + 1))[:MEGABYTE]


HOSTILE: dict[str, Callable[[], str]] = {
    "open brackets": lambda: _filled("["),
    "open tags": lambda: _filled("[meta-reasoning "),
    "open tags with numbers": lambda: _filled("[meta-reasoning 1"),
    "spaces after a tag": lambda: _filled(" ", ONE + "[Meta-reasoning 2]"),
    "spaces in a tag": lambda: _filled(" ", ONE + "[Meta-reasoning"),
    "newlines": lambda: _filled("\n", ONE),
    "newlines and spaces": lambda: _filled("\n        ", ONE),
    "tags out of order": lambda: _filled("[Answer 1]: a\n[Sub-problem 1]: q\n", ONE),
    "one step again and again": lambda: _filled(ONE),
    "meta-reasoning again and again": lambda: _filled("[Meta-reasoning 1]: m\n"),
    "final answers": lambda: _filled("\nso the final answer is", ONE),
    "final answers in a field": lambda: ONE.replace("a1", _filled("so the final answer is\u2028")),
    "beginnings of final answers": lambda: _filled("\nso   the   final   answer ", ONE),
    "dashes": lambda: _filled("-", ONE),
    "dashes and spaces": lambda: _filled("- ", ONE),
    "dashes in the middle": lambda: ONE + "-" * MEGABYTE + "x",
    "stars": lambda: _filled("*", ONE),
    "stars and brackets": lambda: _filled("***[", ONE),
    "mentions": lambda: _filled("by [Answer 1] we know ", ONE + "[Meta-reasoning 2]: "),
    "mentions in line": lambda: _filled("[Answer 1]", ONE + "[Meta-reasoning 2]: x "),
    "charges": lambda: _filled("NO3-^", ONE),
    "digits": lambda: _filled("1", ONE + "[Meta-reasoning "),
    "wide brackets": lambda: _filled("\u3010", ONE),
    "spaces without width": lambda: _filled("[Meta\u200b\u200b\u200b"),
    "rules under a dash": lambda: _filled("\n \u2014\n***", ONE),
    "ends in a line": lambda: _filled(" [End]", ONE),
    "ends in lines": lambda: _filled("\n[End] x", ONE),
    "stars in a line": lambda: _filled(" *** \u2014", ONE),
    "steps": lambda: _filled("\nStep 2\n", ONE),
    "numbers": lambda: _filled("\n2.", ONE),
    "fences": lambda: _filled("\n```\n", ONE),
    "fences that open": lambda: _filled("\n```py", ONE),
    "quotes": lambda: _filled("\n> ", "> " + ONE),
    "table rows": lambda: _filled("\n|---|", "| " + ONE),
    "decoration": lambda: _filled("**__`", ONE + "**[Meta-reasoning 2]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_is_read_in_linear_time(name: str) -> None:
    """Quadratic reading of a megabyte takes hours; linear reading takes well below a second."""
    hostile = HOSTILE[name]()
    assert len(hostile) >= MEGABYTE
    with watchdog(20):
        try:
            structure = parse_structure(hostile)
        except FormatError:
            return
        render_structure(structure)


STEP = "[Meta-reasoning 1]: m\n[Sub-problem 1]: q\n[Answer 1]: "


@pytest.mark.parametrize(
    "text",
    [
        "Final answer: 19",
        "**Final Answer:** 19",
        "**Final Answer**: 19",
        "**Final answer: 19**",
        "The final answer is: 19",
        "[Final answer]: 19",
        "### Final Answer\n\n19",
        "\u6700\u7ec8\u7b54\u6848\uff1a19",
        "\u6240\u4ee5\u6700\u7ec8\u7b54\u6848\u662f\uff1a19",
    ],
)
@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_a_final_answer_in_other_words_is_none_of_the_last_step(text: str, between: str) -> None:
    found = parse_structure(STEP + "24" + between + text)
    assert (found.steps[-1].answer, found.final_answer) == ("24", "19")
    assert parse_structure(render_structure(found)) == found


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("The final answer is: 24", "The final answer is: 24"),
        ("\nFinal answer: 24", "Final answer: 24"),  # under its tag it is the content
        ("24\nThe final answer is near.", "24\nThe final answer is near."),
        ("24\n\n**Final Answer**\n\nSo the final answer is: 19", "24"),
    ],
)
def test_what_only_speaks_of_a_final_answer_is_content(answer: str, read: str) -> None:
    found = parse_structure(STEP + answer)
    assert found.steps[-1].answer == read
    assert parse_structure(render_structure(found)) == found


def test_a_final_answer_in_other_words_before_a_tag_ends_nothing() -> None:
    two = STEP + "24\nFinal answer: 24\n" + STEP.replace("1]", "2]") + "5\n\nFinal answer: 19"
    found = parse_structure(two)
    assert [step.answer for step in found.steps] == ["24\n(Final answer:) 24", "5"]
    assert found.final_answer == "19"
    assert parse_structure(render_structure(found)) == found
