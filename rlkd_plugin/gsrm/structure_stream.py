"""Reads a structure text while it is being written, each field as soon as it is final.

It agrees with `structure.parse_structure`: whatever text follows, the fields read so far are those
of the whole text. Not here: how Algorithm 1 uses them (`algorithm`).
"""

import re

from rlkd_plugin.gsrm.fields import Opening, content_of, is_mention, place_of
from rlkd_plugin.gsrm.layout_lines import is_fence, line_begin
from rlkd_plugin.gsrm.structure import field_text
from rlkd_plugin.gsrm.tags import FINAL, TAG, FoundTag, found_tag, is_settled

REACH = 200
"""Longest tag, or phrase before the final answer, in characters."""
KEPT_CHARS = 2 * REACH
"""Characters kept in the window after a cut: the longest tag, and its line before it."""
MOST_FINAL = 500
"""Longest final answer in characters; what a model writes after it has no content."""
MOST_WINDOW = 2048
"""Longest window in characters; a longer field is stored in parts."""


class StructureReader:
    """The fields of a structure text, read from its beginning on, in parts of any length.

    A field is read when its text is complete: when the next tag, the final answer or a break
    follows it. A text that does not begin with its first tag (`begins_with_tag`) is not read: the
    text before the tag may be thinking, and only its end shows what counts. Time is linear in the
    text's length.

    Attributes:
        fields: as `Step` holds them, in reading order: M_1, Q_1, A_1, M_2 ...
        is_ended: whether no field can follow, as the final answer or a break was reached.
        is_ending: whether the final answer is being written, within its first `MOST_FINAL`
            characters.
    """

    def __init__(self) -> None:
        self.fields: list[str] = []
        self.is_ended = False
        self.is_ending = False
        self._is_skipped = False
        self._window = ""  # the end of the text
        self._aside: list[str] = []  # the part of the open field before the window
        self._content = 0  # where the rest of the open field's text begins in the window
        self._searched = 0  # the end of the last tag
        self._after_tag = 0  # where the text after the last tag begins
        self._opening: Opening | None = None  # of the open field
        self._before = ""  # the part of its line before the tag
        self._opened = 0
        self._final = 0  # characters of the final answer so far

    def feed(self, text: str) -> None:
        """Read the next part of the text."""
        if self.is_ending:
            self._count_final(len(text))
        if self.is_ended or self._is_skipped:
            return
        scanned = len(self._window)
        self._window += text
        if self._opening is None:
            self._read_beginning()
        if self._opening is not None:
            self._read_tags(max(self._searched, scanned - REACH))
            self._shorten()

    def _read_beginning(self) -> None:
        """Look for the first tag; a text that does not begin with it is skipped."""
        match = TAG.search(self._window)
        if match is None:
            self._is_skipped = len(self._window) > KEPT_CHARS
        elif is_settled(self._window, match):
            if _is_beginning(self._window, match):
                self._open(found_tag(self._window, match, 0), match.end())
            else:
                self._is_skipped = True

    def _read_tags(self, place: int) -> None:
        """Read the text after the last tag, as far as it is settled."""
        final = FINAL.search(self._window, max(place, 1))  # a cut window begins inside a line
        end = final.start() if final else len(self._window)
        while match := TAG.search(self._window, max(place, self._searched)):
            if match.start() >= end:
                break
            if not is_settled(self._window, match):
                return
            found = found_tag(self._window, match, self._after_tag)
            if found.place() == place_of(self._opened):
                self._close(line_begin(self._window, found.start))
                if self.is_ended:
                    return
                self._open(found, match.end())
            elif not is_mention(self._window, found):
                self._end(line_begin(self._window, found.start))
                return
            self._searched, self._after_tag = match.end(), found.end
        if final:
            self.is_ending = True
            self._count_final(len(self._window) - final.end())
            self._end(end)

    def _count_final(self, characters: int) -> None:
        self._final += characters
        self.is_ending = self._final <= MOST_FINAL

    def _open(self, found: FoundTag, searched: int) -> None:
        start = line_begin(self._window, found.start)
        self._opening = Opening(found, start)
        self._before = self._window[start : found.start]
        self._content = self._after_tag = found.end
        self._searched = searched
        self._opened += 1

    def _close(self, end: int) -> None:
        """Read the open field, which ends here; an empty one is a break."""
        assert self._opening is not None
        text = "".join([*self._aside, self._window[self._content : end]])
        field, _ = place_of(self._opened - 1)
        content = field_text(field, content_of(text, self._opening.tag, self._before))
        self._aside.clear()
        if content:
            self.fields.append(content)
        else:
            self.is_ended = True

    def _end(self, end: int) -> None:
        self._close(end)
        self.is_ended = True
        self._window = ""

    def _shorten(self) -> None:
        """Move text that can no longer change out of the window."""
        if len(self._window) <= MOST_WINDOW or self.is_ended:
            return
        kept = len(self._window) - KEPT_CHARS
        if kept > self._content:
            self._aside.append(self._window[self._content : kept])
            self._content = kept
        cut = max(0, self._content - KEPT_CHARS)
        self._window = self._window[cut:]
        self._content -= cut
        self._searched = max(0, self._searched - cut)
        self._after_tag = max(0, self._after_tag - cut)


def begins_with_tag(text: str) -> bool:
    """Return whether a text begins with the first tag of a structure, apart from layout.

    If so, the text is the model's reply, and not its thinking.
    """
    match = TAG.search(text[:KEPT_CHARS])
    return match is not None and _is_beginning(text, match)


def _is_beginning(text: str, match: re.Match[str]) -> bool:
    """Return whether a text's first tag opens step 1, with only layout before it."""
    found = found_tag(text, match, 0)
    lines = text[: found.start].split("\n")
    said = "".join(line for line in lines if not is_fence(line))
    at_beginning = match.start() <= REACH and found.place() == place_of(0)
    return at_beginning and not any(map(str.isalnum, said))
