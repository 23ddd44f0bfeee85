"""Structures read while they are written: the same as of the whole text, field by field."""

import json
import random
from collections.abc import Iterator

import pytest

from rlkd_plugin.gsrm import FormatError, parse_structure
from rlkd_plugin.gsrm.fields import place_of, raw_fields, split_final
from rlkd_plugin.gsrm.structure import field_text
from rlkd_plugin.gsrm.structure_stream import MOST_WINDOW, StructureReader, begins_with_tag
from rlkd_plugin.llm_io.event_stream import StreamedReply
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.structure_replies import read_structure
from tools.stand_ins.structure_texts import PIECES, make_structure, mutate

TEXT = """\
[Meta-reasoning 1]: count the pens
[Sub-problem 1]: how many pens?
[Answer 1]: 24

[Meta-reasoning 2]: take the broken ones away
[Sub-problem 2]: how many are left?
[Answer 2]: 19

So the final answer is: 19"""
FIELDS = [
    "count the pens",
    "how many pens?",
    "24",
    "take the broken ones away",
    "how many are left?",
    "19",
]
SIZES = (1, 1, 2, 3, 4, 8, 20, 100, 4096)


def read(text: str) -> StructureReader:
    reader = StructureReader()
    reader.feed(text)
    return reader


def fields_of(text: str) -> list[str]:
    """Return the fields of a text that is whole, also those of a step that is not."""
    fields: list[str] = []
    for number, content in enumerate(raw_fields(split_final(text)[0])[0]):
        field = field_text(place_of(number)[0], content)
        if not field:
            break
        fields.append(field)
    return fields


def steps_of(text: str) -> int:
    try:
        return len(parse_structure(text).steps)
    except FormatError:
        return 0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_a_field_is_read_as_soon_as_the_next_tag_is_there(size: int) -> None:
    """Or the final answer: that is the letter after the colon, or the last one of the phrase."""
    ends = [TEXT.index(tag) + len(tag) for tag in ("[Sub-problem 1]: ", "[Answer 1]: ")]
    ends += [TEXT.index(tag) + len(tag) for tag in ("[Meta-reasoning 2]: ", "[Sub-problem 2]: ")]
    ends += [TEXT.index("[Answer 2]: ") + 12, TEXT.index("answer is") + 9]
    reader, seen = StructureReader(), 0
    for start in range(0, len(TEXT), size):
        reader.feed(TEXT[start : start + size])
        seen = min(len(TEXT), start + size)
        assert list(reader.fields) == FIELDS[: sum(end <= seen for end in ends)]
    assert reader.is_ended


def test_what_ends_a_structure_is_seen_at_once() -> None:
    """A break, a field of layout alone, and the final answer."""
    for end in (
        "\n[Answer 9]: x",
        "\n[Meta-reasoning 2]:\n\n[Sub-problem 2]: x",
        "\nSo the final answer is",
    ):
        reader = read(TEXT[: TEXT.index("\n\n[Meta-reasoning 2]")])
        assert (len(reader.fields), reader.is_ended) == (2, False)
        reader.feed(end)
        assert (list(reader.fields), reader.is_ended) == (FIELDS[:3], True)
        reader.feed("\n" + TEXT)
        assert list(reader.fields) == FIELDS[:3]


def test_a_final_answer_in_other_words_ends_nothing() -> None:
    """A step may speak of its final answer: only the end tells."""
    reader = read(TEXT.partition("\n\nSo")[0] + "\n\nFinal answer: 19\n\nThat is all.")
    assert (list(reader.fields), reader.is_ended) == (FIELDS[:5], False)


@pytest.mark.parametrize(
    "before", ["", "\n\n", "```\n", "```markdown\n", "**", "- ", "### ", "---\n"]
)
def test_a_text_that_begins_with_its_tag_is_read(before: str) -> None:
    assert begins_with_tag(before + TEXT)
    assert read(before + TEXT).fields[3] == FIELDS[3]


@pytest.mark.parametrize("before", ["\x1c> ", "\u2028> ", "> ", " > "])
def test_what_stands_before_the_first_tag_means_the_same_to_both_readers(before: str) -> None:
    """A quote's mark on the tag's line, or none where a sign before it is no layout."""
    text = before + TEXT.replace("count the pens", "count\n> the pens")
    whole, _ = read_structure(Reply(text, "stop"))
    assert list(read(text).fields) == list(whole.fields)


@pytest.mark.parametrize(
    "text",
    [
        f"Here it is:\n{TEXT}",
        f"<think>\n\n</think>\n\n{TEXT}",
        f"1. {TEXT}",
        TEXT.partition("\n")[2],  # a second field first
        "\n" * 300 + TEXT,
        "no tag at all " * 100,
        "",
    ],
)
def test_any_other_text_is_left_to_the_reader_of_whole_texts(text: str) -> None:
    """It may be thinking, and what follows would count in its place."""
    assert not begins_with_tag(text)
    reader = StructureReader()
    for start in range(0, len(text), 5):
        reader.feed(text[start : start + 5])
        assert not reader.fields and not reader.is_ended


def random_texts(seed: int, count: int) -> Iterator[tuple[random.Random, str]]:
    dice = random.Random(seed)
    for _ in range(count):
        text = dice.choice(["", "\n", "**", "- ", "```\n"]) + make_structure(dice)
        yield dice, (text + dice.choice(PIECES) + mutate(dice))[:5000]


@pytest.mark.parametrize("seed", range(4))
def test_random_texts_in_random_parts(seed: int) -> None:
    """What was read stands in each text that may become of the part; nothing is read late."""
    fields_read = 0
    for dice, text in random_texts(seed, 250):
        reader, place, begins = StructureReader(), 0, begins_with_tag(text)
        while place < len(text):
            size = dice.choice(SIZES)
            reader.feed(text[place : place + size])
            place = min(len(text), place + size)
            if dice.random() > 0.1:
                continue
            part, read_now = text[:place], list(reader.fields)
            others = ["", dice.choice(PIECES) + mutate(dice)[:300], make_structure(dice)]
            for whole in (text, *(part + other for other in others)):
                assert fields_of(whole)[: len(read_now)] == read_now
                if reader.is_ended:
                    assert steps_of(whole) == len(read_now) // 3
            if begins and not reader.is_ended:
                assert len(read_now) >= len(fields_of(part[:-16])) - 1
        fields_read += len(reader.fields)
    assert fields_read > 1000


def test_structures_in_events_in_bytes_that_are_cut_anywhere() -> None:
    """Within an event, a tag, and a character of several bytes."""
    for dice, text in random_texts(9, 100):
        events, place = [], 0
        while place < len(text):
            size = dice.choice(SIZES)
            delta = {"content": text[place : place + size]}
            events.append(json.dumps({"choices": [{"delta": delta}]}, ensure_ascii=False))
            place += size
        end = json.dumps({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        body = "".join(f"data: {event}\n\n" for event in [*events, end, "[DONE]"])
        payload = body.encode("utf-8", "surrogatepass")
        reader = StructureReader()
        stream, place = StreamedReply(reader.feed), 0
        while place < len(payload):
            size = dice.choice(SIZES)
            stream.feed(payload[place : place + size])
            place += size
        assert not stream.broke_off
        message = json.loads(stream.body())["choices"][0]["message"]
        assert message["content"] == text
        assert fields_of(text)[: len(reader.fields)] == list(reader.fields)


@pytest.mark.parametrize(
    "piece", ["word ", "by [Answer 1] we ", "a\n", "- So the final answer\n", "[", "*"]
)
def test_a_long_field_in_small_parts_is_put_aside(piece: str) -> None:
    """What is looked at with each part stays short, so that time is linear in the text."""
    text = "[Meta-reasoning 1]: " + piece * (50_000 // len(piece)) + "\n[Sub-problem 1]: x"
    reader = StructureReader()
    for start in range(0, len(text), 16):
        reader.feed(text[start : start + 16])
        assert len(reader._window) <= MOST_WINDOW + 16
    assert list(reader.fields) == fields_of(text)[:1]
