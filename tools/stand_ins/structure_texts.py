"""Structure texts as models write them, good ones and mutated ones, for fuzzing.

Tags have look-alikes, and layout stands around them. Pieces of tags, numbers, fences, control
tokens and Unicode are inserted, cut, repeated and moved.
"""

import random

TAGS = ["[Meta-reasoning 1]: ", "[Sub-problem 1]: ", "[Answer 1]: ", "[Answer 2]", "[Query 1]"]
ODD_TAGS = ["[Meat-reasoning 2]:", "[sub-think 3] ", "[META-REASONING 1]", "[Answer 99999]: "]
BRACKETS = ["[[", "]"]
ENDS = ["So the final answer is: ", "So the final answer is"]
MARKS = ["**", "# ", "- ", "> ", "-", "--", ":"]
SPACES = ["\n", "\r\n", "\n\n", " ", "\t", "\u2028", "\x0b", "\x00", "\ufeff", "\u200b", "\xa0"]
FORMULAS = ["H+", "Cl-", "$x^2$", "\\frac{1}{2}", "\\boxed{", "}"]
CONTROL = ["<think>", "</think>", "<|im_end|>", "⟦", "⟧"]
UNICODE = ["\ud800", "é", "中", "\U0001d465", "🙂", "ﬁ", "\u0661", "²"]
FILLERS = ["0", "12", "a", "the"]
MENTIONS = ["by [Answer 1] we know", "(step 1)", "1.", "[1]"]
HALF_TAGS = ["[Answer]", "[ Answer 1 ]", "[Answer 1"]
WIDE_TAGS = [
    "\u3010Meta\u2011reasoning 1\u3011\uff1a",
    "\uff3bAnswer \uff11\uff3d",
    "\u300cSub\u2013problem 2\u300d: ",
]
LOOK_ALIKES = [*WIDE_TAGS, "[Answer\u202f1]", "__[Answer 1]:__ ", "`[Query 2]`", "[**Answer 2**:]"]
WIDE_ENDS = ["\nSo\uff0cthe final answer is\uff1a", "\n**So the\xa0final answer is:** "]
LAYOUT = [
    "\n### Step 2\n",
    "\n---\n",
    "\n***\n",
    "\n2.\n",
    "\n> ",
    "\n```\n",
    "\n```py\n",
    " ***",
    "\n| ",
]
STEPS = [
    "\nStep 2 of 4\n",
    "\n**Step 2:**\n",
    "\n\u7b2c\u4e8c\u6b65\n",
    "\n[End]\n",
    " [End]",
    "\n## x\n",
    "\u2014",
]
TAG_PIECES = [*TAGS, *ODD_TAGS, *BRACKETS, *ENDS, *LOOK_ALIKES, *WIDE_ENDS]
OTHER_PIECES = [*MARKS, *SPACES, *FORMULAS, *CONTROL, *UNICODE, *FILLERS, *MENTIONS, *HALF_TAGS]
OTHER_PIECES += [*LAYOUT, *STEPS]
PIECES = TAG_PIECES + OTHER_PIECES
WORDS = ["add", "both", "parts", "2 + 3", "$x$", "so", "therefore", "the rest", "12 pens", "x"]


def make_structure(dice: random.Random) -> str:
    """Return a structure text of some steps."""
    lines = []
    for number in range(1, dice.randint(1, 8) + 1):
        for name in ("Meta-reasoning", "Sub-problem", "Answer"):
            from_pieces = dice.random() < 0.1
            words = " ".join(
                dice.choice(PIECES if from_pieces else WORDS) for _ in range(dice.randint(1, 6))
            )
            lines.append(f"[{name} {number}]: {words}")
    return "\n".join([*lines, f"So the final answer is: {dice.randint(0, 99)}"])


def mutate(dice: random.Random) -> str:
    """Return a mutated structure text, or a text of pieces alone."""
    text = make_structure(dice) if dice.random() < 0.8 else ""
    for _ in range(dice.randint(0, 6)):
        at, end = sorted(dice.randint(0, len(text)) for _ in range(2))
        kind = dice.random()
        if kind < 0.5:
            text = text[:at] + dice.choice(PIECES) + text[at:]
        elif kind < 0.7:
            text = text[:at] + text[end:]
        elif kind < 0.85:
            text = text[:at] + text[at:end] * dice.randint(2, 4) + text[end:]
        else:
            text = text[end:] + text[at:end] + text[:at]
        text = text[:20_000]
    if dice.random() < 0.002:
        piece = "".join(dice.choice(PIECES) for _ in range(dice.randint(1, 4)))
        text = text[:1000] + piece * (dice.randint(10_000, 200_000) // max(1, len(piece)))
    return text
