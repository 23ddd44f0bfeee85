"""Random structures, streamed in random parts, against the parser of whole texts.

    python -m benchmarks.streamed_structures [--texts 100000] [--processes 2]

Each text is written as server-sent events, one for every 1 to 4,096 characters, and the bytes of
these are cut anywhere: within an event, a tag or a character. After each part the steps that the
incremental reader has read have to be those of `parse_structure`, of the text so far and of the
whole text; it may lack the last step, which can still grow. Where the reader says that the
structure is ended, the whole text may have no further step. Prints how many texts and parts there
were, and the CPU time of reading a part, a character and an event.
"""

import argparse
import json
import multiprocessing
import random
import time
from collections import Counter

from rlkd_plugin.gsrm import FormatError, Step, parse_structure
from rlkd_plugin.gsrm.structure_stream import StructureReader, begins_with_tag
from rlkd_plugin.llm_io.event_stream import StreamedReply
from tools.stand_ins.structure_texts import PIECES, make_structure, mutate

SIZES = (1, 2, 3, 4, 4, 8, 30, 200, 4096)
UNSETTLED = 16
"""Characters behind a tag that may be needed to know where it ends."""


def make_text(dice: random.Random) -> str:
    """Return a text that mostly begins as a structure does, with things in it that few have."""
    kind = dice.random()
    if kind < 0.4:
        return make_structure(dice)
    if kind < 0.7:
        return (make_structure(dice) + dice.choice(PIECES) + mutate(dice))[:4000]
    text = make_structure(dice)
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(text))
        text = text[:at] + dice.choice(PIECES) + text[at:]
    return text


def events_of(dice: random.Random, text: str) -> bytes:
    """Return a completion as a server streams it."""
    size = dice.choice(SIZES)
    values = []
    for at in range(0, len(text), size):
        delta = {"index": 0, "delta": {"content": text[at : at + size]}}
        values.append(json.dumps({"choices": [delta]}, ensure_ascii=dice.random() < 0.5))
    values.append(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    return "".join(f"data: {value}\n\n" for value in [*values, "[DONE]"]).encode(
        "utf-8", "surrogatepass"
    )


def steps_of(text: str) -> tuple[Step, ...]:
    """Return the steps of a text that is whole."""
    try:
        return parse_structure(text).steps
    except FormatError:
        return ()


class Watched:
    """Reads a text as it comes, and compares after each part."""

    def __init__(self, text: str, counts: Counter[str]) -> None:
        self.whole = steps_of(text)
        self.is_read = begins_with_tag(text)
        self.reader = StructureReader()
        self.counts = counts
        self.so_far = ""

    def add(self, part: str) -> None:
        """Take a part of the text."""
        self.so_far += part
        begin = time.process_time_ns()
        self.reader.feed(part)
        self.counts["nanoseconds in the reader"] += time.process_time_ns() - begin
        self.counts["parts"] += 1
        fields = self.reader.fields
        steps = tuple(Step(*fields[i : i + 3]) for i in range(0, len(fields) // 3 * 3, 3))
        here = steps_of(self.so_far)
        settled = len(steps_of(self.so_far[:-UNSETTLED])) - 1 if self.is_read else 0
        is_right = steps == here[: len(steps)] == self.whole[: len(steps)]
        is_whole = not self.reader.is_ended or len(steps) == len(self.whole)
        is_late = len(steps) < settled and not self.reader.is_ended
        if not (is_right and is_whole) or is_late or (steps and not self.is_read):
            raise AssertionError(f"{steps} read of {self.so_far[-500:]!r}; whole: {self.whole}")


def read_many(arguments: tuple[int, int]) -> Counter[str]:
    """Read many texts; return what was counted."""
    seed, texts = arguments
    dice = random.Random(seed)
    counts: Counter[str] = Counter()
    for _ in range(texts):
        text = make_text(dice)
        payload = events_of(dice, text)
        watched = Watched(text, counts)
        stream = StreamedReply(watched.add)
        sizes = dice.choice([SIZES, SIZES, SIZES[:6], SIZES[5:]])
        at = 0
        while at < len(payload):
            size = dice.choice(sizes)
            stream.feed(payload[at : at + size])
            at += size
        if stream.broke_off or watched.so_far != text:
            raise AssertionError(f"the stream of {text[:500]!r} gave {watched.so_far[:500]!r}")
        counts["texts"] += 1
        counts["characters"] += len(text)
        counts["texts that begin with a tag"] += watched.is_read
        counts["steps read early"] += len(watched.reader.fields) // 3
    return counts


def measure_events(texts: int) -> str:
    """Return the CPU time of reading streams of one event a token of four characters."""
    dice = random.Random(0)
    payloads = []
    for _ in range(texts):
        text = "\n".join(make_structure(dice) for _ in range(4))
        values = [
            json.dumps({"choices": [{"index": 0, "delta": {"content": text[at : at + 4]}}]})
            for at in range(0, len(text), 4)
        ]
        payloads.append([f"data: {value}\n\n".encode() for value in values])
    begin = time.process_time()
    for events in payloads:
        stream = StreamedReply(StructureReader().feed)
        for event in events:
            stream.feed(event)
    seconds = time.process_time() - begin
    count = sum(map(len, payloads))
    return f"{count:,} events of a token each: {seconds / count * 1e6:.1f} microseconds of CPU time"


def main() -> None:
    """Read the texts in several processes and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    parts = 50
    counts: Counter[str] = Counter()
    begin = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        jobs = [(seed, options.texts // parts) for seed in range(parts)]
        for more in pool.imap_unordered(read_many, jobs):
            counts += more
    for name in ("texts", "characters", "parts"):
        print(f"{counts[name]:,} {name}")
    for name in ("texts that begin with a tag", "steps read early"):
        print(f"{counts[name]:,} {name}")
    print(f"all equal, in {time.monotonic() - begin:.0f} s")
    reader = counts["nanoseconds in the reader"] / 1000
    print(
        f"the reader: {reader / counts['parts']:.1f} microseconds of CPU time a part, "
        f"{reader * 1000 / counts['characters']:.0f} nanoseconds a character"
    )
    print(measure_events(200))


if __name__ == "__main__":
    main()
