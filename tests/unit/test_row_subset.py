"""`rlkd subset`: which rows are taken, that a job goes on, and a real server with faults."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlkd_plugin.gsrm import EndpointError, RlkdError
from rlkd_plugin.llm_io.embedding_server import ServerEmbedder
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_data import similarity
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob
from rlkd_plugin.rlkd_data.row_subset import write_subset
from rlkd_plugin.rlkd_data.subset_report import SubsetReport
from tests.support.row_lines import lines, write

WORDS = ("circle", "train", "apples", "dice", "prime")


def vector(text: str) -> list[float]:
    """How often each of five words stands in a text; a little of each, so that none is zero.

    The command's check of an embedder has problems about primes.
    """
    words = text.lower().replace("primes", "prime").rstrip(".").split()
    return [0.1 + words.count(word) for word in WORDS]


class WordEmbedder:
    """Embeds by words; can fail at a call."""

    name = "words"

    @property
    def facts(self) -> dict[str, Any]:
        return {"embedder": self.name}

    def __init__(self, fail_at: int = 0) -> None:
        self.asked: list[list[str]] = []
        self.fail_at = fail_at

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked.append(list(texts))
        if len(self.asked) == self.fail_at:
            raise EndpointError("gone")
        return [vector(text) for text in texts]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six problems: two about the tests' subject, one twice, one row without a problem."""
    return write(
        tmp_path / "rows.jsonl",
        {"problem": "a circle of dice", "solution": "1"},
        {"problem": "a train with apples", "solution": "2"},
        {"problem": "circle circle", "solution": "3"},
        {"question": "apples apples", "answer": "4"},
        {"problem": "a train with apples", "solution": "again"},
        {"problem": "The CIRCLE  prime", "solution": "5"},
        {"solution": "no problem"},
        {"problem": "dice", "solution": "6"},
        "{broken",
    )


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    """Two test items about circles and primes."""
    return write(tmp_path / "test.jsonl", {"problem": "the circle prime"}, {"problem": "circle"})


def subset(
    source: Path,
    tests: Path,
    out: Path,
    count: int,
    embedder: Any = None,
    concurrency: int = 8,
    mix: bool = False,
) -> SubsetReport:
    """Run the job."""
    job, report = DataJob(source, out, concurrency, mix=mix), SubsetReport()
    asyncio.run(write_subset(job, tests, count, embedder or WordEmbedder(), report))
    return report


def test_the_least_similar_rows_are_written_as_they_stand(
    source: Path, tests: Path, tmp_path: Path
) -> None:
    report = subset(source, tests, tmp_path / "out.jsonl", 3)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").open()]
    assert rows == [
        {"problem": "a train with apples", "solution": "2"},
        {"question": "apples apples", "answer": "4"},
        {"problem": "dice", "solution": "6"},
    ]
    assert (report.rows, report.without_problem, report.problems, report.written) == (9, 2, 6, 3)
    assert [pair.problem for pair in report.most[:2]] == ["The CIRCLE  prime", "circle circle"]
    assert [pair.test_problem for pair in report.most[:2]] == ["the circle prime", "circle"]
    assert report.least[0].similarity <= report.least[-1].similarity


def test_test_items_in_the_source_are_reported(source: Path, tests: Path, tmp_path: Path) -> None:
    """Equal but for case and punctuation, or nearly so by their embeddings."""
    report = subset(source, tests, tmp_path / "out.jsonl", 1)
    assert [(p.problem, p.test_problem) for p in report.exact] == [
        ("The CIRCLE  prime", "the circle prime")
    ]
    assert [p.problem for p in report.near] == ["circle circle"]


def test_the_same_rows_every_time(source: Path, tests: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"out{n}.jsonl" for n in range(2)]
    for file, concurrency in zip(files, (1, 4), strict=True):
        subset(source, tests, file, 4, concurrency=concurrency)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_stopped_job_goes_on(
    source: Path, tests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server fails at the fourth request; what was measured is not asked for again."""
    monkeypatch.setattr(similarity, "BATCH", 2)
    out = tmp_path / "out.jsonl"
    failing = WordEmbedder(fail_at=3)
    with pytest.raises(EndpointError, match="gone"):
        subset(source, tests, out, 3, failing, concurrency=1)
    assert not out.exists()
    again = WordEmbedder()
    report = subset(source, tests, out, 3, again, concurrency=1)
    measured = [text for texts in failing.asked[1:2] for text in texts]
    assert report.measured_before == len(measured) == 2
    assert not set(measured) & {text for texts in again.asked[1:] for text in texts}
    whole = tmp_path / "whole.jsonl"
    subset(source, tests, whole, 3)
    assert out.read_bytes() == whole.read_bytes()


def test_what_another_model_or_test_set_measured_does_not_count(
    source: Path, tests: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    subset(source, tests, out, 3)
    other = WordEmbedder()
    other.name = "another"
    with pytest.raises(RlkdError, match=r"embedder: 'words' there, 'another' now.*--mix"):
        subset(source, tests, out, 3, other)
    assert subset(source, tests, out, 3, other, mix=True).measured_before == 0
    more = write(tmp_path / "more.jsonl", {"problem": "prime"})
    assert subset(source, more, out, 3).measured_before == 0
    assert subset(source, more, out, 3).measured_before == 6


@pytest.mark.parametrize(
    ("count", "rows", "message"),
    [(7, [{"problem": "x"}], "has 6 different problems, fewer than 7"), (1, [], "no row with a")],
)
def test_too_few_rows_are_an_error(
    count: int, rows: list[Any], message: str, source: Path, tmp_path: Path
) -> None:
    tests = write(tmp_path / "test.jsonl", *rows)
    with pytest.raises(RlkdError, match=message):
        subset(source, tests, tmp_path / "out.jsonl", count)
    assert not (tmp_path / "out.jsonl").exists()


def test_the_source_is_not_overwritten(source: Path, tests: Path) -> None:
    with pytest.raises(RlkdError, match="is the source itself"):
        subset(source, tests, source, 1)


def test_neither_the_test_set_nor_another_file_is_overwritten(
    source: Path, tests: Path, tmp_path: Path
) -> None:
    before = tests.read_bytes()
    with pytest.raises(RlkdError, match="is the source itself"):
        subset(source, tests, tests, 1)
    mine = write(tmp_path / "mine.jsonl", {"precious": 1})
    with pytest.raises(RlkdError, match=r"no mine.jsonl.rlkd.json says that `rlkd subset` made it"):
        subset(source, tests, mine, 1)
    with pytest.raises(RlkdError, match="is a folder or a device"):
        subset(source, tests, tmp_path, 1)
    assert tests.read_bytes() == before and lines(mine) == [{"precious": 1}]


def test_too_few_rows_are_known_before_any_request(source: Path, tests: Path) -> None:
    embedder = WordEmbedder()
    with pytest.raises(RlkdError, match="fewer than 7"):
        subset(source, tests, source.with_name("out.jsonl"), 7, embedder)
    assert embedder.asked == []


def test_a_problem_that_the_server_does_not_take_is_not_chosen(
    source: Path, tests: Path, tmp_path: Path
) -> None:
    class Strict(WordEmbedder):
        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            if "dice" in texts:
                raise EndpointError("too long", 400)
            return await super().embed(texts)

    report = subset(source, tests, tmp_path / "out.jsonl", 5, Strict())
    assert (report.rejected, report.measured, report.written) == (1, 5, 5)
    with pytest.raises(RlkdError, match="only 5 problems have an embedding, fewer than 6"):
        subset(source, tests, tmp_path / "out.jsonl", 6, Strict())


def test_vectors_of_two_lengths_are_an_error(source: Path, tests: Path, tmp_path: Path) -> None:
    class Two(WordEmbedder):
        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            found = await super().embed(texts)
            return [[*v, 1.0] for v in found] if len(self.asked) > 1 else found

    with pytest.raises(EndpointError, match="vectors of 5 and of 6 numbers"):
        subset(source, tests, tmp_path / "out.jsonl", 1, Two())


def test_rows_are_written_as_they_stand_whatever_they_hold(tests: Path, tmp_path: Path) -> None:
    rows = {"problem": "dice", "note": "half \ud83d"}, {"problem": "apples", "note": "Größe"}
    subset(write(tmp_path / "rows.jsonl", *rows), tests, tmp_path / "out.jsonl", 2)
    assert lines(tmp_path / "out.jsonl") == list(rows)


Answer = Callable[[list[str]], tuple[int, dict[str, str], Any]]


def vectors(texts: list[str]) -> tuple[int, dict[str, str], Any]:
    """A right answer, its entries out of order as servers may give them."""
    data = [{"index": i, "embedding": vector(text)} for i, text in enumerate(texts)]
    return 200, {}, {"data": data[::-1], "usage": {"prompt_tokens": len(texts)}}


def said(status: int, body: Any, **headers: str) -> Answer:
    """Another answer."""
    return lambda texts: (status, headers, body)


@pytest.fixture
def server() -> Iterator[tuple[str, list[Answer], list[dict[str, Any]]]]:
    """A server of embeddings on loopback, its next answers, and what it was asked."""
    answers: list[Answer] = []
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers.get("Authorization")
            asked.append({"path": self.path, "key": key, **body})
            answer = answers.pop(0) if answers else vectors
            status, headers, reply = answer(body["input"])
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}/v1", answers, asked
    running.shutdown()
    running.server_close()


def embedded(url: str, texts: list[str], **settings: Any) -> list[list[float]]:
    """Ask the server through the plugin's client."""

    async def ask() -> list[list[float]]:
        async with ServerEmbedder(
            Settings(embed_base_url=url, embed_model="gte", **settings)
        ) as embedder:
            return await embedder.embed(texts)

    return asyncio.run(ask())


def test_embeddings_come_in_the_order_of_the_texts(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _, asked = server
    monkeypatch.setenv("RLKD_EMBED_API_KEY", "secret")
    assert embedded(url, ["circle", "dice"]) == [vector("circle"), vector("dice")]
    assert asked == [
        {
            "path": "/v1/embeddings",
            "key": "Bearer secret",
            "model": "gte",
            "input": ["circle", "dice"],
        }
    ]


@pytest.mark.parametrize(
    "fault",
    [
        said(500, "broken"),
        said(429, "slow down", Retry_After="0"),
        said(200, {"data": []}),
        said(200, {"data": [{"index": 0, "embedding": ["x"]}]}),
        said(200, {"data": [{"index": 0, "embedding": [float("nan")]}]}),
        said(200, {"data": [{"index": 0, "embedding": []}]}),
        said(200, {"data": [{"index": 0, "embedding": [0.0, 0.0]}]}),
        said(200, "no object"),
    ],
    ids=["500", "429", "too few", "no number", "nan", "empty", "zeros", "text"],
)
def test_a_transient_fault_is_retried(fault: Answer, server: Any) -> None:
    url, answers, asked = server
    answers.append(fault)
    assert embedded(url, ["dice"]) == [vector("dice")]
    assert len(asked) == 2


def test_a_refusal_ends_the_job_and_names_the_setting(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, answers, _ = server
    monkeypatch.setenv("RLKD_EMBED_API_KEY", "secret")
    answers.append(said(401, "the key secret is wrong"))
    with pytest.raises(EndpointError, match="RLKD_EMBED_API_KEY_ENV=RLKD_EMBED_API_KEY") as error:
        embedded(url, ["dice"])
    assert "secret" not in str(error.value)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(
        RlkdError, match=r"set RLKD_EMBED_MODEL, or name a local model \(--model of"
    ):
        ServerEmbedder(Settings(embed_base_url="http://x/v1"))


def test_the_command_writes_and_reports(
    server: Any, source: Path, tests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLKD_EMBED_BASE_URL", server[0])
    monkeypatch.setenv("RLKD_EMBED_MODEL", "gte")
    arguments = ["subset", str(source), str(tests), str(tmp_path / "out.jsonl"), "--count", "2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    words = " ".join(done.stdout.replace("│", " ").split())
    assert "9 rows, 6 different problems, 2 rows without one; 0 were measured before" in words
    assert "1 are the same as a test item, 1 nearly the same" in words
    assert (
        "6 measured now, 2 rows written "
        "9 rows read = 6 measured + 2 refused + 1 duplicate "
        "embed: 3 requests, 0 retries, 11 tokens in, 0 out written to"
    ) in words
    assert "1 refused: broken JSON" in words and "1 refused: problem is missing or not a text" in (
        words
    )


def test_without_the_package_a_local_model_names_the_remedy(
    source: Path, tests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    arguments = ["subset", str(source), str(tests), str(tmp_path / "o"), "--model", "x"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "needs the package sentence-transformers" in done.stderr
