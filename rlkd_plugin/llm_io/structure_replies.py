"""Reads a GSRM's reply: the structure, how far it may be trusted where the reply was cut.

Pure. Not here: what is asked again (`prompted_engine`).
"""

from rlkd_plugin.gsrm import FormatError, Structure, parse_structure
from rlkd_plugin.gsrm.tags import TAG
from rlkd_plugin.llm_io.replies import Reply, after_thinking

BEGINNING = 200
"""Characters of a reply that is no structure, for messages and the trace."""

_GOES_ON = " and more"


def read_structure(reply: Reply) -> tuple[Structure, bool]:
    """Return the structure of a reply, and whether it was cut off at the token limit.

    The text counts, and where that holds no structure what the server delivered as thinking: a
    reasoning parser takes the whole reply of a model that writes no mark of thinking. It counts
    where it begins with a tag, or is all of a reply that ended by itself; else it may be a draft.

    Of a structure that was cut its whole steps count. The field in which it broke off may look
    whole ("19" of "190"), so the last step is dropped where that field is its answer. Where the
    final answer ended before the limit the structure is whole.

    Raises:
        FormatError: if there is no whole step.
    """
    try:
        return _as_far_as_whole(after_thinking(reply.text), reply.is_cut)
    except FormatError:
        is_all = not reply.text.strip() and not reply.is_cut
        if not is_all and not _begins_with_tag(reply.thinking):
            raise
        return _as_far_as_whole(after_thinking(reply.thinking), reply.is_cut)


def beginning_of(reply: Reply) -> str:
    """Return the beginning of what a reply says, or of its thinking, which is marked as such."""
    said = reply.text.strip()
    thinking = reply.thinking.strip()
    return said[:BEGINNING] if said or not thinking else f"(thinking) {thinking[:BEGINNING]}"


def _as_far_as_whole(text: str, is_cut: bool) -> tuple[Structure, bool]:
    structure = parse_structure(text)
    if not is_cut:
        return structure, False
    # what the model would have written next belongs to the field in which it broke off
    longer = parse_structure(text + _GOES_ON)
    if structure.final_answer:
        return structure, longer.final_answer != structure.final_answer
    steps = structure.steps
    if longer.steps[len(steps) - 1] != steps[-1]:
        steps = steps[:-1]
    return Structure(steps), True


def _begins_with_tag(text: str) -> bool:
    first = TAG.search(text)
    return first is not None and not any(map(str.isalnum, text[: first.start()]))
