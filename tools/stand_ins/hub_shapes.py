"""Hand-made rows in the shapes of the hubs' data sets."""

from typing import Any

STRUCTURE = (
    "[Meta-reasoning 1]: Both parts are known, so they are put together.\n"
    "[Sub-problem 1]: What is 2 + 3?\n"
    "[Answer 1]: 5\n\n"
    "So the final answer is: 5"
)


def openr1(number: int = 1, **change: Any) -> dict[str, Any]:
    """Return a row of OpenR1-Math-220k: the second of two generations is right."""
    right, wrong = 2 * number, 2 * number + 1
    problem = f"What is ${number} + {number}$?"
    generations = [
        f"<think>\nI guess {value}.\n</think>\n\nThe answer is $\\boxed{{{value}}}$."
        for value in (wrong, right)
    ]
    return {
        "problem": problem,
        "solution": f"Adding gives ${number} + {number} = {right}$.",
        "answer": str(right),
        "problem_type": "Algebra",
        "question_type": "math-word-problem",
        "source": "olympiads",
        "uuid": f"00000000-0000-5000-8000-{number:012d}",
        "is_reasoning_complete": [True, True],
        "generations": generations,
        "correctness_math_verify": [False, True],
        "correctness_llama": None,
        "finish_reasons": None,
        "correctness_count": 1,
        "messages": [
            {"role": "user", "content": problem},
            {"role": "assistant", "content": generations[1]},
        ],
        **change,
    }


def openthoughts(number: int = 1, **change: Any) -> dict[str, Any]:
    """Return a row of OpenThoughts-114k, subset `metadata`."""
    return {
        "problem": f"What is {number} + {number}?",
        "deepseek_reasoning": f"Twice {number} is {2 * number}. Let me check: yes.",
        "deepseek_solution": f"It is $\\boxed{{{2 * number}}}$.",
        "ground_truth_solution": f"${number} + {number} = \\boxed{{{2 * number}}}$",
        "domain": "math",
        "source": "numina_math",
        "test_cases": None,
        "starter_code": None,
        **change,
    }


def pair(number: int = 1, **change: Any) -> dict[str, Any]:
    """Return an R-S pair."""
    return {
        "problem": f"Ann has 2 pens and buys 3. How many has she? ({number})",
        "domain": "math",
        "reasoning_path": "She has 2 + 3 = 5 pens.",
        "structure": STRUCTURE,
        **change,
    }
