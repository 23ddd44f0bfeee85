"""Reads a GSRM's reply: the structure, and which of its steps count where the reply was cut.

Pure. Not here: when a request is repeated (`prompted_engine`).
"""

from contextlib import suppress

from rlkd_plugin.gsrm import FormatError, Structure, parse_structure
from rlkd_plugin.gsrm.structure_stream import begins_with_tag
from rlkd_plugin.gsrm.tags import TAG
from rlkd_plugin.gsrm.texts import split_thinking
from rlkd_plugin.llm_io.replies import Reply, after_thinking

BEGINNING = 200
"""Characters of a reply that is no structure, for messages and the trace."""
PREAMBLE = 200
"""Characters before the first tag that introduce a structure ("Here it is:"), and think of none."""

_GOES_ON = " and more"


def read_structure(reply: Reply) -> tuple[Structure, bool]:
    """Return the structure of a reply, and whether it was cut off at the token limit.

    The text counts, and where that holds no structure what the server delivered as thinking: a
    reasoning parser takes the whole reply of a model that writes no mark of thinking. Thinking
    may also hold a draft, so it counts where the first tag begins it or nothing else was said;
    where it was cut, a few words may stand before that tag (`PREAMBLE`).

    A text that begins with its first tag, and has a whole step, is said from there on, also where
    a mark of thinking follows: what is read while it is being written cannot depend on its end.

    Of a structure that was cut its whole steps count. The field in which it broke off may look
    whole ("19" of "190"), so the last step is dropped where that field is its answer. Where the
    final answer ended before the limit the structure is whole.

    Raises:
        FormatError: if there is no whole step.
    """
    try:
        if begins_with_tag(reply.text):
            with suppress(FormatError):
                return _read_whole_steps(reply.text.rstrip(), reply.is_cut)
        return _read_whole_steps(after_thinking(reply.text), reply.is_cut)
    except FormatError:
        if not _is_thinking_the_reply(reply):
            raise
        thinking, said = split_thinking(reply.thinking)
        # all of it is thinking here, so a mark that never closes says nothing
        return _read_whole_steps(said or thinking, reply.is_cut)


def beginning_of(reply: Reply) -> str:
    """Return the beginning of what a reply says, or of its thinking, which is marked as such."""
    said = reply.text.strip()
    thinking = reply.thinking.strip()
    return said[:BEGINNING] if said or not thinking else f"(thinking) {thinking[:BEGINNING]}"


def _read_whole_steps(text: str, is_cut: bool) -> tuple[Structure, bool]:
    structure = parse_structure(text)
    if not is_cut:
        return structure, False
    # what the model would have written next belongs to the field in which it broke off
    longer = parse_structure(text + _GOES_ON)
    if structure.final_answer:
        return structure, longer.final_answer != structure.final_answer
    steps = structure.steps
    if longer.steps[len(steps) - 1 : len(steps)] != steps[-1:]:
        steps = steps[:-1]
    return Structure(steps), True


def _is_thinking_the_reply(reply: Reply) -> bool:
    """Say whether a structure that stands in the thinking is the reply, and no draft of one."""
    first = TAG.search(reply.thinking)
    if first is None:
        return False
    if reply.text.strip():
        return not any(map(str.isalnum, reply.thinking[: first.start()]))
    return not reply.is_cut or first.start() <= PREAMBLE
