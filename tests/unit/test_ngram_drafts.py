"""N-gram drafts and their replay, by hand."""

from tools.ngram_drafts import DRAFTS, draft, replay


def test_a_draft_follows_the_longest_ngram_where_it_stood_first() -> None:
    assert draft([1, 2, 3, 4, 5, 6, 7, 1, 2]) == [3, 4, 5, 6]  # of two tokens
    # 8, 1, 2 is longer than 1, 2, which stood before it
    assert draft([1, 2, 3, 3, 8, 1, 2, 9, 9, 9, 9, 8, 1, 2]) == [9, 9, 9, 9]
    assert draft([1, 2, 7, 1, 2, 8, 1, 2]) == [7, 1, 2, 8]
    assert draft([1, 2, 1, 2]) == [1, 2]  # no more are there
    assert draft([1, 2, 3]) == []
    assert draft([5, 1, 5]) == []  # one token is no n-gram
    assert DRAFTS == 4


def test_an_answer_that_copies_its_prompt_needs_few_passes() -> None:
    """1 and 2 without a draft; then 3, 4, 5, 6 of a draft with 7 after them; then 8 without its
    draft, as none is left in the prompt but 8 itself: one more is accepted, and 9 comes."""
    prompt = [1, 2, 3, 4, 5, 6, 7, 8]
    assert replay(prompt, [1, 2, 3, 4, 5, 6, 7, 8, 9]) == (4, 2, 5)


def test_wrong_drafts_cost_a_pass_each() -> None:
    assert replay([1, 2, 3], [1, 2, 9, 9]) == (4, 1, 0)
    assert replay([], [5]) == (1, 0, 0)
