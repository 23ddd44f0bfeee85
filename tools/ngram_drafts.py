"""N-gram drafts of speculative decoding, replayed on token ids without a model.

As vLLM's proposer looks them up (`v1/spec_decode/ngram_proposer.py`, vLLM 0.32): what followed the
longest n-gram of the end where it stood first, in prompt and answer alike.
"""

from collections.abc import Sequence

DRAFTS = 4
LONGEST, SHORTEST = 4, 2
"""Tokens of a draft, and of the n-gram by which its beginning is found."""


def draft(tokens: Sequence[int]) -> Sequence[int]:
    """Return what followed the longest n-gram of the end where it stood first, as vLLM does."""
    for size in range(LONGEST, SHORTEST - 1, -1):
        end = tokens[-size:]
        for at in range(len(tokens) - size):
            if tokens[at : at + size] == end:
                return tokens[at + size : at + size + DRAFTS]
    return []


def replay(prompt: Sequence[int], answer: Sequence[int]) -> tuple[int, int, int]:
    """Return the passes that an answer needs, those with a draft, and the accepted tokens."""
    passes = drafts = accepted = done = 0
    while done < len(answer):
        proposed = draft([*prompt, *answer[:done]])
        right = 0
        for one, other in zip(proposed, answer[done:], strict=False):
            if one != other:
                break
            right += 1
        passes, drafts, accepted = passes + 1, drafts + bool(proposed), accepted + right
        done += right + 1
    return passes, drafts, accepted
