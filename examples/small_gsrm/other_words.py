"""Thinking paths in words that no training path has, to tell sense from wording in the measures.

    python -m examples.small_gsrm.other_words OUT/unseen.jsonl OUT/reworded.jsonl

Rewords every opening, filler, check, given-up thought and closing of `paths.py` in the thinking
paths. Structures stay: `decompose_paths.py` and `measure_gsrm.py` read the rows as they read the
unseen ones.
"""

import argparse
import json
import re
from pathlib import Path

OTHER = {
    r"Okay, let me work through this\.": "First of all, what have we got?",
    r"Alright, let's see what is asked here\.": "I have to find out what they want.",
    r"Hmm, let me think about it step by step\.": "One thing after the other.",
    r"Let me read the problem again\.": "What does the text tell us?",
    r"So I need to be careful with the numbers\.": "There are a few numbers to sort out.",
    r"The problem says: ": "It is given: ",
    r"I want to know (.+?)\.": r"My aim at this point is \1.",
    r"Maybe I should add (.+?)\? No, that is not needed here\.": (
        r"One could take the sum \1, but it leads nowhere, so I drop it."
    ),
    r"Could it be (.+?)\? That would not make sense, so no\.": (
        r"Perhaps it is \1. Scratch that, it has nothing to do with the question."
    ),
    r"No, wait, that is wrong, let me do it again\.": "Oops, a slip. Once more.",
    r"Let me check: (.+?) = (.+?)\. Yes\.": r"Verifying \1 gives \2 as before.",
    r"Wait, is (.+?) really (.+?)\? Yes, it is\.": r"I doubt that \1 makes \2, but it does.",
    r"So that is (\S+)\.": r"We hold on to \1.",
    r"Let me check the whole thing once more\. It all seems consistent\.": (
        "Looking back, nothing contradicts this."
    ),
    r"I think that is right\.": "I am fairly sure of it.",
    r"That makes sense\.": "Quite plausible.",
    r"Does this fit the question\? Yes, I believe so\.": "This is what they asked for.",
}
_FILLER = re.compile(r"(?:(?<=[.?!] )|(?<=\n)|^)(Okay|Hmm|Right|Good|Let me go on|Next|Wait)\.")


def reword(path: str) -> str:
    """Return a thinking path in other words."""
    path = _FILLER.sub("Well then.", path)
    for pattern, other in OTHER.items():
        path = re.sub(pattern, other, path)
    return path


def main() -> None:
    """Write the paths that change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("unseen", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.unseen.read_text("utf-8").splitlines()]
    others = [{**row, "reasoning_path": reword(row["reasoning_path"])} for row in rows]
    changed = [
        b for a, b in zip(rows, others, strict=True) if a != b and a["variant"] == "thinking"
    ]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in changed]
    options.out.write_text("".join(lines), "utf-8")
    print(f"{len(lines)} paths in {options.out}")


if __name__ == "__main__":
    main()
