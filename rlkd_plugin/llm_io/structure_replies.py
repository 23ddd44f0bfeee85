"""Reads the structure in a GSRM's reply, and the steps that count in a cut reply.

Pure. Not here: retries (`prompted_engine`).
"""

from contextlib import suppress

from rlkd_plugin.gsrm import FormatError, Structure, parse_structure
from rlkd_plugin.gsrm.structure_stream import begins_with_tag
from rlkd_plugin.gsrm.tags import TAG
from rlkd_plugin.gsrm.texts import split_thinking
from rlkd_plugin.llm_io.replies import Reply, after_thinking

BEGINNING = 200
"""Characters kept of a reply without a structure, for messages and the trace."""
PREAMBLE = 200
"""Most characters that introduce a structure ("Here it is:"); a longer text is thinking."""

_MORE_TEXT = " and more"


def read_structure(reply: Reply) -> tuple[Structure, bool]:
    """Return the structure of a reply, and whether it was cut off at the token limit.

    The text is read first. If it has no structure, the separate thinking is read: a reasoning
    parser treats a whole reply as thinking if the model writes no mark. Thinking may also hold a
    draft. So it counts only if it begins with the first tag, or if there is no other text. In a
    cut reply a few words may precede that tag (`PREAMBLE`).

    A text that begins with its first tag and has a whole step is the reply, even if a mark of
    thinking follows. A text read while it is being written cannot depend on its end.

    The whole steps of a cut structure count. The last field may look whole ("19" of "190"), so the
    last step is dropped if the text was cut in its answer. If the final answer ended before the
    limit, the structure is whole.

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
        # all of it is thinking, so an unclosed mark has no meaning
        return _read_whole_steps(said or thinking, reply.is_cut)


def beginning_of(reply: Reply) -> str:
    """Return the beginning of a reply's text, or else of its thinking, labelled as such."""
    said = reply.text.strip()
    thinking = reply.thinking.strip()
    return said[:BEGINNING] if said or not thinking else f"(thinking) {thinking[:BEGINNING]}"


def _read_whole_steps(text: str, is_cut: bool) -> tuple[Structure, bool]:
    structure = parse_structure(text)
    if not is_cut:
        return structure, False
    # appended text shows in which field the reply was cut
    longer = parse_structure(text + _MORE_TEXT)
    if structure.final_answer:
        return structure, longer.final_answer != structure.final_answer
    steps = structure.steps
    if longer.steps[len(steps) - 1 : len(steps)] != steps[-1:]:
        steps = steps[:-1]
    return Structure(steps), True


def _is_thinking_the_reply(reply: Reply) -> bool:
    """Return whether a structure in the thinking is the reply, and not a draft."""
    first = TAG.search(reply.thinking)
    if first is None:
        return False
    if reply.text.strip():
        return not any(map(str.isalnum, reply.thinking[: first.start()]))
    return not reply.is_cut or first.start() <= PREAMBLE
