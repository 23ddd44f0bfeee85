"""The diversity D of section 4.3, and the job that measures it."""

import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from rlkd_plugin.engines.base import Decomposition, Usage
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_data import embedder
from rlkd_plugin.rlkd_eval import diversity_job
from rlkd_plugin.rlkd_eval.diversity_plan import DiversityJob, Drawing, read_questions
from rlkd_plugin.rlkd_eval.finished import is_measured
from rlkd_plugin.rlkd_eval.report import eval_figures
from rlkd_plugin.rlkd_eval.results import DiversityStep, read_diversity
from rlkd_plugin.rlkd_eval.step_diversity import by_step, diversity
from tests.support.json_server import Answer, serving
from tests.support.plain_server import plain_server
from tests.support.swift_run import ROOT, rows
from tools.diversity_estimator import HEAD, simulate, table


def test_equal_embeddings_have_diversity_1() -> None:
    assert diversity([[0.3, 0.4]] * 16) == pytest.approx(1)


def test_two_embeddings_at_a_right_angle() -> None:
    """u = (1/2, 1/2); both have cosine 1/sqrt(2) to it, so D = sqrt(2)."""
    assert diversity([[1, 0], [0, 1]]) == pytest.approx(math.sqrt(2))


def test_lengths_weigh_in_the_mean_alone() -> None:
    """u = (3/2, 1/2), |u| = sqrt(10)/2: cosines 3/sqrt(10) and 1/sqrt(10), mean 2/sqrt(10)."""
    assert diversity([[3, 0], [0, 1]]) == pytest.approx(math.sqrt(10) / 2)


def test_it_is_the_formula_for_random_embeddings() -> None:
    vectors = np.random.default_rng(1).normal(size=(16, 8)) + 1
    mean = vectors.mean(0)
    cosines = [e @ mean / (np.linalg.norm(e) * np.linalg.norm(mean)) for e in vectors]
    assert diversity(vectors.tolist()) == pytest.approx(1 / np.mean(cosines))


@pytest.mark.parametrize("vectors", [[], [[0.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]]])
def test_what_has_no_direction_is_refused(vectors: list[list[float]]) -> None:
    with pytest.raises(ValueError):
        diversity(vectors)


def test_a_response_counts_at_the_steps_that_it_has() -> None:
    """Step 2 has two responses to the first question, and one to the second: no diversity."""
    x, y = [1.0, 0.0], [0.0, 1.0]
    first = [[x, x], [x, y], [x]]
    second = [[x], [y, x]]
    # step 1: D is 1 and sqrt(2), c is 1 and 0, whose standard error is sqrt(0.5 / 2); step 2: the
    # first question alone
    assert by_step([first, second]) == [
        DiversityStep(1, pytest.approx((1 + math.sqrt(2)) / 2), 2, 5, 0.5, pytest.approx(0.5)),
        DiversityStep(2, pytest.approx(math.sqrt(2)), 1, 2, 0.0, None),
    ]
    assert by_step([]) == []


def alike(cosine: float, count: int) -> np.ndarray:
    """Vectors of length 1 whose pairs all have one cosine, times lengths that must not count."""
    shared, own = math.sqrt(cosine), math.sqrt(1 - cosine)
    vectors = np.hstack([np.full((count, 1), shared), own * np.eye(count)])
    return vectors * np.arange(1, count + 1)[:, None]


@pytest.mark.parametrize("count", [2, 3, 16, 40])
@pytest.mark.parametrize(("cosine", "fixed"), [(0.5, 1.3720), (0.0, 4.0), (0.9, 1.0504)])
def test_d_at_16_responses_does_not_depend_on_their_number(
    count: int, cosine: float, fixed: float
) -> None:
    """sqrt(16 / (1 + 15 c)) by hand; at 16 vectors of one length it is the plain form."""
    (step,) = by_step([[[vector] for vector in alike(cosine, count)]])
    assert step.cosine == pytest.approx(cosine)
    assert step.fixed == pytest.approx(fixed, abs=1e-4)
    unit = [v / np.linalg.norm(v) for v in alike(cosine, 16)]
    assert diversity(unit) == pytest.approx(fixed, abs=1e-4)


def test_the_standard_error_of_d_is_that_of_the_cosine_by_the_slope() -> None:
    step = DiversityStep(1, 1.0, 9, 99, 0.5, 0.001)
    higher = replace(step, cosine=0.501)
    assert step.fixed and higher.fixed and step.fixed_error
    assert step.fixed_error == pytest.approx(step.fixed - higher.fixed, rel=0.01)
    assert replace(step, cosine_error=None).fixed_error is None


def test_questions_are_averaged_before_d_is_taken() -> None:
    """Two responses at a right angle and two alike: c = 1/2; by itself the first has D = 4."""
    x, y = [1.0, 0.0], [0.0, 1.0]
    (step,) = by_step([[[x], [y]], [[x], [x]]])
    assert step.fixed == pytest.approx(math.sqrt(16 / 8.5))


def test_responses_that_point_apart_have_no_d_at_16_and_are_no_error() -> None:
    """Two vectors at 100 degrees: c = -0.17 is below -1/15; with another question there is one."""
    apart = [[[1.0, 0.0]], [[math.cos(math.radians(100)), math.sin(math.radians(100))]]]
    (step,) = by_step([apart])
    assert step.cosine == pytest.approx(-0.1736, abs=1e-4)
    assert step.fixed is step.fixed_error is None and step.diversity > 1
    (step,) = by_step([apart, [[[1.0, 0.0]], [[1.0, 0.0]]]])
    assert step.fixed == pytest.approx(math.sqrt(16 / (1 + 15 * (1 - 0.1736) / 2)), abs=1e-3)


def test_many_questions_of_two_responses_give_the_d_of_sixteen() -> None:
    """The table of docs/evaluation.md is made of such data; here one row of it, by other seeds."""
    row = simulate(0.5, 2, repeats=20, seed=5)
    assert row.plain == pytest.approx(1.157, abs=0.01)
    assert row.fixed == pytest.approx(row.true, abs=3 * row.fixed_spread / math.sqrt(20) + 1e-9)
    assert row.each_first > row.true + 0.01


def test_the_table_of_the_docs_is_that_of_the_script() -> None:
    """To 0.002: a library's random numbers and sums may change in their last bits."""
    docs = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    shown = docs.partition(HEAD)[2].strip().partition("\n\n")[0]
    written, made = (
        [[float(number) for number in re.findall(r"[\d.]+", line)] for line in lines]
        for lines in (shown.splitlines()[1:], table().splitlines()[2:])
    )
    assert len(written) == len(made) == 12
    for line, wanted in zip(written, made, strict=True):
        assert line == pytest.approx(wanted, abs=0.002)


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ([[1.0, math.nan], [1.0, 0.0]], "not finite"),
        ([[1.0, 0.0], [1.0, 0.0, 0.0]], "differ in length"),
        ([[0.0, 0.0], [1.0, 0.0]], "vector of zeros"),
    ],
)
def test_embeddings_that_cannot_be_compared_are_refused(
    vectors: list[list[float]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        by_step([[[vector] for vector in vectors]])


class Letters:
    """Embeds a text by its letters: equal texts alike, other ones not; and it knows primes."""

    name = "letters"
    facts: Mapping[str, Any] = {}
    usage = Usage()

    async def __aenter__(self) -> "Letters":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [
            [99.0 * ("prime" in text), *(1.0 + text.count(letter) for letter in "aeiou0123456789")]
            for text in texts
        ]


QUESTIONS = [{"problem": f"What is {n} + {n}?", "domain": "math"} for n in range(1, 6)]


def run(out: Path, source: Path, *options: str, code: int = 0, **env: str) -> str:
    words = ["diversity", str(out), str(source), "--samples", "4", "--count", "3", *options]
    env = {
        "COLUMNS": "200",
        "RLKD_ENGINE": "rules",
        "RLKD_STUDENT_MODEL": "m",
        "RLKD_EMBED_BASE_URL": "http://127.0.0.1:9/v1",
        "RLKD_EMBED_MODEL": "e",
        **env,
    }
    done = CliRunner().invoke(app, words, env=env)
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*QUESTIONS, QUESTIONS[0]]))
    return file


@pytest.fixture
def source(questions: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(embedder, "ServerEmbedder", lambda _: Letters())
    return questions


def varied(body: dict[str, Any], seen: list[int]) -> str:
    seen.append(1)
    return f"First {len(seen)} + 1 = {len(seen) + 1}. Then 2 * 3 = 6."


def table_of(output: str) -> str:
    """Return the table of D, without what a log may write before or behind it."""
    return output.partition("Diversity D of each step")[2].partition("└")[0]


def test_the_job_asks_for_each_response_once(source: Path, tmp_path: Path) -> None:
    """Three of five questions, four responses each; a second run asks for nothing."""
    seen: list[int] = []
    with plain_server(lambda body: varied(body, seen)) as (url, asked):
        said = run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
        assert len(asked) == 12
        assert {body["temperature"] for body in asked} == {0.8}
        again = run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
        assert len(asked) == 12
    assert table_of(said) == table_of(again) != ""
    assert "out: 12 responses, 3 questions, 0 cut off" in said
    result = json.loads((tmp_path / "out" / "diversity.json").read_text())
    assert (result["questions"], result["responses"]) == (3, 12)
    first, second = result["steps"]
    assert (first["step"], first["questions"], first["responses"]) == (1, 3, 12)
    assert first["diversity"] > 1 and second["diversity"] == pytest.approx(1)
    assert len(rows(tmp_path / "out" / "responses.jsonl")) == 12


def test_a_job_that_was_stopped_asks_for_the_rest(source: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    with plain_server(lambda body: varied(body, seen)) as (url, asked):
        run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
        file = tmp_path / "out" / "responses.jsonl"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:7]) + '{"problem": "W')
        run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
        assert len(asked) == 12 + 5


def test_a_path_that_the_server_delivers_apart_is_the_path(source: Path, tmp_path: Path) -> None:
    """A reasoning model behind an API: its steps are in reasoning_content, its content has one."""
    seen: list[int] = []

    def thinks(body: dict[str, Any]) -> dict[str, Any]:
        return {"reasoning_content": varied(body, seen), "content": "6"}

    with plain_server(thinks) as (url, _):
        run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
    result = json.loads((tmp_path / "out" / "diversity.json").read_text())
    assert result["statuses"] == {"ok": 12}
    assert [step["responses"] for step in result["steps"][:2]] == [12, 12]
    responses = rows(tmp_path / "out" / "responses.jsonl")
    assert {row["response"] for row in responses} == {"6"}
    assert all(row["thinking"].startswith("First ") for row in responses)


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS"])
def test_a_path_whose_answer_was_not_reached_counts(
    source: Path, tmp_path: Path, finish: str
) -> None:
    """The server's parser took all of it for thinking; the content is null."""
    seen: list[int] = []

    def thinks(body: dict[str, Any]) -> dict[str, Any]:
        return {"reasoning": varied(body, seen), "content": None}

    with plain_server(thinks, finish=finish) as (url, _):
        said = run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
    result = json.loads((tmp_path / "out" / "diversity.json").read_text())
    assert result["statuses"] == {"ok": 12}
    assert "12 responses, 3 questions, 12 cut off" in said


def test_responses_of_before_are_read_by_their_texts(source: Path, tmp_path: Path) -> None:
    """A file without the key `thinking` resumes; its paths stand in the texts."""
    seen: list[int] = []
    with plain_server(lambda body: varied(body, seen)) as (url, asked):
        run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
        file = tmp_path / "out" / "responses.jsonl"
        old = [{k: v for k, v in row.items() if k != "thinking"} for row in rows(file)]
        file.write_text("".join(json.dumps(row) + "\n" for row in old))
        (tmp_path / "out" / "structures.jsonl").unlink()
        run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
        assert len(asked) == 12
    result = json.loads((tmp_path / "out" / "diversity.json").read_text())
    assert result["statuses"] == {"ok": 12}


def test_clipped_paths_and_cut_structures_are_counted_and_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twelve responses three are clipped and six are cut; their whole steps count."""
    decompose = RulesEngine.decompose
    count = itertools.count()

    async def lossy(self: RulesEngine, problem: str, domain: str, path: str) -> Decomposition:
        found, number = await decompose(self, problem, domain, path), next(count)
        return replace(found, clipped=number % 4 == 0, cut=number % 2 == 0)

    monkeypatch.setattr(RulesEngine, "decompose", lossy)
    seen: list[int] = []
    with plain_server(lambda body: varied(body, seen)) as (url, _):
        said = run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
    result = json.loads((tmp_path / "out" / "diversity.json").read_text())
    assert (result["clipped"], result["cut"], result["responses"]) == (3, 6, 12)
    assert "3 of clipped paths, 6 cut at the GSRM's token limit" in said
    charts = eval_figures.diversity([read_diversity(tmp_path / "out")])
    assert [chart.title for chart in charts] == [
        "Diversity of responses",
        "Diversity of responses, plain form",
    ]
    for chart in charts:
        assert "3 of paths too long for the GSRM, and clipped, 6 of structures cut" in chart.note


def test_the_student_is_asked_for_its_own_sampling_alone(source: Path, tmp_path: Path) -> None:
    """A server's defaults change nothing; further keys of the body are the user's."""
    seen: list[int] = []
    body = json.dumps({"chat_template_kwargs": {"enable_thinking": True}})
    with plain_server(lambda body: varied(body, seen)) as (url, asked):
        run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url, RLKD_STUDENT_BODY=body)
    for request in asked:
        sampling = [request[k] for k in ("temperature", "top_p", "top_k", "repetition_penalty")]
        assert sampling == [0.8, 1, -1, 1]
        assert request["chat_template_kwargs"] == {"enable_thinking": True}


def test_another_body_needs_another_folder(source: Path, tmp_path: Path) -> None:
    """Its values are not shown: one may be a secret."""
    seen: list[int] = []
    with plain_server(lambda body: varied(body, seen)) as (url, _):
        run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
        env = {"RLKD_STUDENT_BASE_URL": url, "RLKD_STUDENT_BODY": '{"x_secret": "s3cr3t"}'}
        said = run(tmp_path / "out", source, code=1, **env)
    assert "is another job's (body: " in said and "s3cr3t" not in said


def test_a_label_is_shown_as_it_is(source: Path, tmp_path: Path) -> None:
    """Brackets are no markup, neither in the table's head nor below it."""
    with plain_server(lambda body: "1 + 1 = 2.") as (url, _):
        options = ("--label", "[red]8B[/]")
        said = run(tmp_path / "out", source, *options, RLKD_STUDENT_BASE_URL=url)
    assert said.count("[red]8B[/]") == 2


def test_another_temperature_needs_another_folder(source: Path, tmp_path: Path) -> None:
    with plain_server(lambda body: "1 + 1 = 2.") as (url, _):
        run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
        options = ("--temperature", "0.2")
        said = run(tmp_path / "out", source, *options, code=1, RLKD_STUDENT_BASE_URL=url)
    assert "temperature: 0.8 there, 0.2 now" in said


def test_too_few_questions_are_refused(source: Path, tmp_path: Path) -> None:
    with plain_server(lambda body: "") as (url, _):
        options = ("--count", "6")
        said = run(tmp_path / "out", source, *options, code=1, RLKD_STUDENT_BASE_URL=url)
    assert "has 5 different questions, fewer than 6" in said


def embeddings(vectors: Callable[[str], list[float]]) -> Answer:
    """A server of embeddings, its entries in another order than the texts."""

    def answer(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        data = [{"index": i, "embedding": vectors(text)} for i, text in enumerate(body["input"])]
        return 200, {"data": data[::-1]}

    return answer


def test_noise_is_known_before_a_response_is_drawn(questions: Path, tmp_path: Path) -> None:
    """Vectors of the texts' lengths: any two problems are alike."""
    with (
        plain_server(lambda body: "1 + 1 = 2.") as (url, asked),
        serving(embeddings(lambda text: [1.0, len(text) / 1e3])) as embed_url,
    ):
        env = {"RLKD_STUDENT_BASE_URL": url, "RLKD_EMBED_BASE_URL": f"{embed_url}/v1"}
        said = run(tmp_path / "out", questions, code=1, **env)
    assert "the embeddings by e are noise" in said and asked == []


def test_an_embedding_server_that_is_not_up_yet_stops_the_measuring_alone(
    questions: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The responses are drawn; once the server is up, the same command asks for nothing anew."""
    seen: list[int] = []
    with plain_server(lambda body: varied(body, seen)) as (url, asked):
        env = {"RLKD_STUDENT_BASE_URL": url, "RLKD_STARTUP_PATIENCE": "0"}
        said = run(tmp_path / "out", questions, code=1, **env)
        assert "the embed at http://127.0.0.1:9/v1 has failed" in said and len(asked) == 12
        assert "the embeddings are not checked yet" in caplog.text
        vectors = embeddings(lambda t: [5.0 * ("prime" in t), *(1.0 + t.count(n) for n in "0123")])
        with serving(vectors) as embed_url:
            run(tmp_path / "out", questions, **{**env, "RLKD_EMBED_BASE_URL": f"{embed_url}/v1"})
        assert len(asked) == 12
    assert read_diversity(tmp_path / "out").steps[0].fixed


def test_models_of_two_widths_behind_one_name_are_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of one text: the second request is answered by another model."""
    asked: list[int] = []

    class Two(Letters):
        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            asked.append(1)
            more = [0.0] if len(asked) == 4 else []
            return [[*vector, *more] for vector in await super().embed(texts)]

    monkeypatch.setattr(embedder, "ServerEmbedder", lambda _: Two())
    monkeypatch.setattr(diversity_job, "BATCH", 1)
    seen: list[int] = []
    with plain_server(lambda body: varied(body, seen)) as (url, _):
        said = run(tmp_path / "out", source, code=1, RLKD_STUDENT_BASE_URL=url)
    assert "letters returns vectors of 16 and of 17 numbers" in " ".join(said.split())


def measured_before(out: Path, source: Path, engine: RulesEngine | None = None) -> bool:
    job = DiversityJob(out, source, Drawing(samples=4, count=3), "")
    return is_measured(job, read_questions(job), engine or RulesEngine(), Letters())


def test_a_measurement_without_the_mean_cosine_is_not_finished(
    source: Path, tmp_path: Path
) -> None:
    """As an older version wrote it: --snapshots measures it again, from what is there."""
    seen: list[int] = []
    with plain_server(lambda body: varied(body, seen)) as (url, _):
        run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
    assert measured_before(tmp_path / "out", source)
    file = tmp_path / "out" / "diversity.json"
    old = json.loads(file.read_text())
    for step in old["steps"]:
        del step["cosine"], step["cosine_error"]
    file.write_text(json.dumps(old))
    assert not measured_before(tmp_path / "out", source)


def test_what_was_asked_and_who_decomposed_are_those_of_a_finished_measurement(
    source: Path, tmp_path: Path
) -> None:
    """Else the curve of a run would join steps of different questions, or of two GSRMs."""
    seen: list[int] = []
    with plain_server(lambda body: varied(body, seen)) as (url, _):
        run(tmp_path / "out", source, RLKD_STUDENT_BASE_URL=url)
    assert measured_before(tmp_path / "out", source)
    other = RulesEngine()
    other.name = "others"
    assert not measured_before(tmp_path / "out", source, other)
    source.write_text(source.read_text().replace("What is", "How much is"))
    assert not measured_before(tmp_path / "out", source)


def test_one_question_has_no_standard_error(source: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    with plain_server(lambda body: varied(body, seen)) as (url, _):
        said = run(tmp_path / "out", source, "--count", "1", RLKD_STUDENT_BASE_URL=url)
    step = read_diversity(tmp_path / "out").steps[0]
    assert (step.questions, step.cosine_error) == (1, None) and step.fixed
    assert "±" not in table_of(said)


def test_responses_of_which_none_has_a_companion_are_told(source: Path, tmp_path: Path) -> None:
    """Only the first response to each question has a step."""
    seen: dict[str, int] = {}

    def first_alone(body: dict[str, Any]) -> str:
        problem = body["messages"][-1]["content"]
        seen[problem] = seen.get(problem, 0) + 1
        return "1 + 1 = 2." if seen[problem] == 1 else ""

    with plain_server(first_alone) as (url, _):
        said = run(tmp_path / "out", source, code=1, RLKD_STUDENT_BASE_URL=url)
    assert "no step has two responses" in said
