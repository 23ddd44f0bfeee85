"""`rlkd prepare` over many rows in the hubs' shapes: memory above its imports, speed, counts.

    python -m benchmarks.prepare [--rows 100000] [--chars 6000] [--folder FOLDER]

Rows are generated, with the faults of real data among them. Each format is read from JSON lines,
plain and compressed, from one JSON array, from CSV where its rows hold texts alone, and from one
Parquet file that has a single row group, the hardest case for flat memory. A job runs in a process
of its own with two workers; the largest of them counts. The baseline is a process that only imports
the job.
"""

import argparse
import csv
import gzip
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from tools.stand_ins.places import ROOT

GOLDS = ("{n}", "\\frac{{{n}}}{{7}}", "{n}\\sqrt{{3}}", "({n}, -2)", "x={n}", "{n}\\%", "[0, {n})")
WORDS = "so now we take this value and check whether the sum of both sides is right again".split()

CHILD = """
import sys
from pathlib import Path
from rlkd_plugin.rlkd_data.prepare import prepare
import pyarrow.parquet
from math_verify import parse, verify
verify(parse("\\\\boxed{1}"), parse("\\\\boxed{1}"))
if len(sys.argv) > 1:
    done = prepare(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), workers=2)
    print(done.kept, dict(done.refused), done.without_solution, sep="\\t")
print("end", flush=True)
sys.stdin.read()
"""


def prose(seed: int, chars: int) -> str:
    """Return a text that differs from row to row and is about as long as asked."""
    dice = random.Random(seed)
    return " ".join(dice.choice(WORDS) for _ in range(chars // 5))


def openr1(number: int, chars: int) -> dict[str, Any]:
    """Return a row of OpenR1-Math-220k; every 50th has one of eight faults."""
    gold = GOLDS[number % len(GOLDS)].format(n=number % 1000)
    thought = prose(number, chars)
    generations = [
        f"<think>\n{thought}\n</think>\n\nThe answer is \\boxed{{{value}}}."
        for value in ("0", gold)
    ]
    row = {
        "problem": f"Problem {number}: what is the value of the {number}th term?",
        "solution": f"It is {gold}.",
        "answer": gold,
        "problem_type": "Algebra",
        "question_type": "math-word-problem",
        "source": "olympiads",
        "uuid": f"{number:032x}",
        "is_reasoning_complete": [True, True],
        "generations": generations,
        "correctness_math_verify": [False, True],
        "correctness_llama": None,
        "finish_reasons": ["stop", "stop"],
        "correctness_count": 1,
        "messages": [{"role": "user", "content": f"Problem {number}"}],
    }
    faults: tuple[dict[str, Any], ...] = (
        {"generations": generations[:1]},
        {"correctness_math_verify": [False, False]},
        {"correctness_math_verify": None},
        {"answer": None},
        {"answer": "}"},
        {"generations": ["", "<think>\n\n</think>\n\n0"]},
        {"problem": None},
        {"uuid": f"{number - 1:032x}"},
    )
    return row | faults[number // 50 % len(faults)] if number % 50 == 0 else row


def openthoughts(number: int, chars: int) -> dict[str, Any]:
    """Return a row of OpenThoughts-114k, `metadata`; every 50th has one of four faults."""
    domains = ("math", "code", "biology", "physics", "chemistry", "puzzle")
    row = {
        "problem": f"Problem {number}: what follows?",
        "deepseek_reasoning": prose(number, 2 * chars),
        "deepseek_solution": f"It is \\boxed{{{number % 1000}}}.",
        "ground_truth_solution": f"\\boxed{{{number % 1000}}}" if number % 3 else None,
        "domain": domains[number % len(domains)],
        "source": "made by hand",
        "test_cases": None,
        "starter_code": None,
    }
    faults: tuple[dict[str, Any], ...] = (
        {"domain": "astrology"},
        {"deepseek_reasoning": None},
        {"problem": ""},
        {"domain": None},
    )
    return row | faults[number // 50 % len(faults)] if number % 50 == 0 else row


SHAPES = {"openr1-math": openr1, "openr1-math-sft": openr1, "openthoughts": openthoughts}


def write_jsonl(file: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write JSON lines, the last of them cut off."""
    with file.open("wb") as lines:
        _write_lines(lines.write, rows)


def write_gzip(file: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write the same lines, compressed by gzip as its program does."""
    with gzip.open(file, "wb", compresslevel=6) as lines:
        _write_lines(lines.write, rows)


def write_zstd(file: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write the same lines, compressed by Zstandard."""
    with pa.CompressedOutputStream(pa.OSFile(str(file), "wb"), "zstd") as lines:
        _write_lines(lines.write, rows)


def _write_lines(write: Callable[[bytes], Any], rows: Iterator[dict[str, Any]]) -> None:
    for row in rows:
        write(json.dumps(row).encode() + b"\n")
    write(b'{"problem": "cut o')


def write_array(file: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write one JSON array, indented as people's tools do, with an element that is no object."""
    with file.open("w", encoding="utf-8") as array:
        array.write("[\n")
        for row in rows:
            array.write(json.dumps(row, indent=2) + ",\n")
        array.write('"cut o"\n]\n')


def write_csv(file: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write CSV, its last row a cell short."""
    with file.open("w", encoding="utf-8", newline="") as text:
        for number, row in enumerate(rows):
            table = csv.DictWriter(text, list(row))
            if number == 0:
                table.writeheader()
            table.writerow(row)
        text.write("cut o\n")


def write_parquet(file: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write one row group."""
    pq.write_table(pa.Table.from_pylist(list(rows)), file, row_group_size=1 << 30)


FILES: dict[str, Callable[[Path, Iterator[dict[str, Any]]], None]] = {
    "jsonl": write_jsonl,
    "jsonl.gz": write_gzip,
    "jsonl.zst": write_zstd,
    "json": write_array,
    "csv": write_csv,
    "parquet": write_parquet,
}


def of_texts(shape: Callable[[int, int], dict[str, Any]]) -> bool:
    """Return whether the rows of a shape hold no lists, which a CSV cell cannot."""
    return not any(isinstance(value, list) for value in shape(1, 10).values())


def peak(pid: int) -> int:
    """Return the largest memory of a process since its start, in kB."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) if "VmHWM:" in status else 0


def job(*arguments: str) -> tuple[str, float]:
    """Run a job in a fresh process; return its output, and its largest process's peak in MB."""
    output, peaks = [], [0]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdin and process.stdout
        ended = threading.Event()

        def watch() -> None:
            job = psutil.Process(process.pid)
            while not ended.wait(0.1):  # the workers are children of a fork server
                peaks.extend(peak(child.pid) for child in job.children(recursive=True))

        threading.Thread(target=watch, daemon=True).start()
        for line in process.stdout:
            if line == "end\n":
                peaks.append(peak(process.pid))
                ended.set()
                process.stdin.close()
            else:
                output.append(line.rstrip("\n"))
    if process.returncode:
        raise SystemExit(f"the job failed with code {process.returncode}")
    return "".join(output), max(peaks) / 1024


def main() -> None:
    """Make the files, run each job and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--chars", type=int, default=6_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--formats", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--files", nargs="+", choices=FILES, default=list(FILES))
    options = parser.parse_args()
    baseline = job()[1]
    print(f"imports alone: {baseline:.0f} MB")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name in options.formats:
            for kind in options.files:
                if kind == "csv" and not of_texts(SHAPES[name]):
                    continue
                file, out = Path(folder) / f"rows.{kind}", Path(folder) / f"out of {kind}.jsonl"
                FILES[kind](
                    file, (SHAPES[name](n, options.chars) for n in range(1, options.rows + 1))
                )
                begin = time.perf_counter()
                output, largest = job(name, str(file), str(out))
                seconds = time.perf_counter() - begin
                kept, refused, without = output.split("\t")
                print(
                    f"{name} from {kind}, {file.stat().st_size / 1e6:.0f} MB: "
                    f"{largest - baseline:+.0f} MB, {seconds:.0f} s, "
                    f"{options.rows / seconds:.0f} rows/s; {kept} kept, "
                    f"{without} of them without a solution; refused {refused}"
                )
                for made in Path(folder).iterdir():  # a result is of one source alone
                    made.unlink()


if __name__ == "__main__":
    main()
