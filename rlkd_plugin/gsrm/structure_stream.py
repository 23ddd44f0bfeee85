"""Reads a structure text while it is being written: each field once nothing can change it any more.

It agrees with `structure.parse_structure`: whatever is written next, the fields that it has read
are those of the whole text. Not here: what the walk of Algorithm 1 does with them (`algorithm`).
"""

import re

from rlkd_plugin.gsrm.fields import Opening, content_of, is_mention, place_of
from rlkd_plugin.gsrm.layout_lines import is_fence, line_begin
from rlkd_plugin.gsrm.structure import field_text
from rlkd_plugin.gsrm.tags import FINAL, TAG, FoundTag, found_tag, is_settled

REACH = 200
"""Characters within which a tag, or the words before the final answer, are written."""
KEPT = 2 * REACH
"""Characters that stay in the window behind a cut: the longest tag, and its line before it."""
MOST_FINAL = 500
"""Characters of a final answer; a model that goes on writing behind them says nothing more."""
MOST_WINDOW = 2048
"""Characters that are looked at together; a longer field is put aside in parts."""


class StructureReader:
    """The fields of a structure text, read from its beginning on, in parts of any length.

    A field is read when its text is complete: when the tag of the next field, the final answer or
    a break follows it. Nothing is read of a text that does not begin with its first tag
    (`begins_with_tag`): what stands before may be thinking, whose end decides what counts. Time is
    linear in the text's length.

    Attributes:
        fields: as `Step` holds them, in reading order: M_1, Q_1, A_1, M_2 ...
        is_ended: whether no further field can follow: the text came to its final answer, or to a
            break.
        is_ending: whether the final answer is being written, within its first `MOST_FINAL`
            characters.
    """

    def __init__(self) -> None:
        self.fields: list[str] = []
        self.is_ended = False
        self.is_ending = False
        self._is_skipped = False
        self._window = ""  # the end of the text
        self._aside: list[str] = []  # the open field's text that has left the window
        self._content = 0  # where the rest of the open field's text begins in the window
        self._searched = 0  # the end of the last tag
        self._behind_tag = 0  # where the text behind the last tag begins
        self._opening: Opening | None = None  # of the open field
        self._before = ""  # what stands on its line before the tag
        self._opened = 0
        self._final = 0  # the characters of the final answer

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
        """Look for the first tag; without it at the beginning nothing is read."""
        match = TAG.search(self._window)
        if match is None:
            self._is_skipped = len(self._window) > KEPT
        elif is_settled(self._window, match):
            if _is_beginning(self._window, match):
                self._open(found_tag(self._window, match, 0), match.end())
            else:
                self._is_skipped = True

    def _read_tags(self, place: int) -> None:
        """Read what follows the last tag, as far as it is settled."""
        final = FINAL.search(self._window, max(place, 1))  # a cut window begins within a line
        end = final.start() if final else len(self._window)
        while match := TAG.search(self._window, max(place, self._searched)):
            if match.start() >= end:
                break
            if not is_settled(self._window, match):
                return
            found = found_tag(self._window, match, self._behind_tag)
            if found.place() == place_of(self._opened):
                self._close(line_begin(self._window, found.start))
                if self.is_ended:
                    return
                self._open(found, match.end())
            elif not is_mention(self._window, found):
                self._end(line_begin(self._window, found.start))
                return
            self._searched, self._behind_tag = match.end(), found.end
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
        self._content = self._behind_tag = found.end
        self._searched = searched
        self._opened += 1

    def _close(self, end: int) -> None:
        """Read the open field, whose text ends here; an empty one is a break."""
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
        """Put aside what no longer matters for what follows."""
        if len(self._window) <= MOST_WINDOW or self.is_ended:
            return
        kept = len(self._window) - KEPT
        if kept > self._content:
            self._aside.append(self._window[self._content : kept])
            self._content = kept
        cut = max(0, self._content - KEPT)
        self._window = self._window[cut:]
        self._content -= cut
        self._searched = max(0, self._searched - cut)
        self._behind_tag = max(0, self._behind_tag - cut)


def begins_with_tag(text: str) -> bool:
    """Say whether a text begins with the first tag of a structure, but for layout.

    Then the text is what a model says, and no thinking about it.
    """
    match = TAG.search(text[:KEPT])
    return match is not None and _is_beginning(text, match)


def _is_beginning(text: str, match: re.Match[str]) -> bool:
    """Say whether a text's first tag is a structure's first, with nothing but layout before it."""
    found = found_tag(text, match, 0)
    lines = text[: found.start].split("\n")
    said = "".join(line for line in lines if not is_fence(line))
    at_beginning = match.start() <= REACH and found.place() == place_of(0)
    return at_beginning and not any(map(str.isalnum, said))
