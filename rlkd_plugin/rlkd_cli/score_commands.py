"""The command that scores completions without a training: those of a file, or one pair of texts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_cli.stop_signals import run_stoppable

if TYPE_CHECKING:
    from rlkd_plugin.engines.trace import TraceRow
    from rlkd_plugin.llm_io.settings import Settings

LONGEST_NAME = 255
"""Maximum characters of a file name; a longer text is not a file name."""


def score(
    src: Annotated[
        Path | None,
        typer.Argument(
            help="Rows with completion or completions, ms-swift's completions.jsonl, results of "
            "swift infer, or the samples of rlkd eval."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Argument(help="Folder to write, for `rlkd report`; new or stopped.")
    ] = None,
    teachers: Annotated[
        Path | None,
        typer.Option(
            help="Rows with problem and teacher_reasoning or teacher_structure, for completions "
            "whose own rows have neither."
        ),
    ] = None,
    gsrm_price: Annotated[
        str, typer.Option(help="IN,OUT: price of a million tokens, to see the cost.")
    ] = "",
    judge_price: Annotated[str, typer.Option(help="The same for the judge.")] = "",
    problem: Annotated[
        str, typer.Option(help="Instead of SRC and OUT, one pair: its problem, a text or a file.")
    ] = "",
    teacher: Annotated[Path | None, typer.Option(help="File with the teacher's text.")] = None,
    student: Annotated[Path | None, typer.Option(help="File with the student's text.")] = None,
    domain: Annotated[
        str,
        typer.Option(help="Domain of a pair's problem: math (the default), science, code, puzzle."),
    ] = "",
) -> None:
    """Score completions by the structure reward, with the engine of the settings.

    Give the same command again to resume a stopped job. With --problem, --teacher and --student
    it shows how the steps of two texts align.
    """
    if problem or teacher or student or domain:
        of_source = src or out or teachers or gsrm_price or judge_price
        if of_source or not (problem.strip() and teacher and student):
            raise RlkdError(
                "one pair of texts needs --problem, --teacher and --student, and no SRC, OUT, "
                "--teachers or prices; the rows of SRC have their own domain"
            )
        _score_pair(_Pair(problem, domain or "math", teacher, student))
    elif src is None or out is None:
        raise RlkdError(
            "give SRC and OUT, or one pair of texts by --problem, --teacher and --student"
        )
    else:
        _score_source(src, out, teachers, gsrm_price, judge_price)


def _score_source(
    src: Path, out: Path, teachers: Path | None, gsrm_price: str, judge_price: str
) -> None:
    """Score the completions of a source."""
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_cli.tables.score_table import ScoreCost, show_scores
    from rlkd_plugin.rlkd_data.jobs.cost import RoleCost, read_price
    from rlkd_plugin.rlkd_data.jobs.data_job import DataJob
    from rlkd_plugin.rlkd_data.jobs.job_end import show_job
    from rlkd_plugin.rlkd_eval.scores.offline_scorer import OfflineScorer
    from rlkd_plugin.rlkd_eval.scores.recent_teachers import RecentTeachers
    from rlkd_plugin.rlkd_eval.scores.score_job import IN_WORK, score_completions
    from rlkd_plugin.rlkd_eval.scores.score_plan import plan_scores, trace_place
    from rlkd_plugin.rlkd_eval.scores.score_report import ScoreReport
    from rlkd_plugin.rlkd_eval.scores.shared_engine import SharedEngine
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine

    settings = load_settings()
    prices = {"GSRM": read_price(gsrm_price), "judge": read_price(judge_price)}
    chosen, cache = choose_engine(settings, reserves=False)
    engine = SharedEngine(chosen)
    teachers_of = RecentTeachers(cache) if cache is not None else None
    scorer = OfflineScorer(engine, teachers_of, settings, _max_chars(chosen, settings))
    job = DataJob(src, trace_place(out), IN_WORK * settings.concurrency)
    report = ScoreReport()
    asks_servers = settings.engine == "server"
    roles = [RoleCost(role, used, prices[role]) for role, used in engine.used.items()]
    cost = ScoreCost(roles if asks_servers else [], report=report)

    async def work() -> None:
        async with engine:
            await engine.probe()
            await score_completions(plan, scorer, report)

    with show_job(job, report, show_scores, cost):
        plan = plan_scores(job, teachers, settings.branches)  # before any request
        run_stoppable(work())


@dataclass(frozen=True)
class _Pair:
    """One pair, as the options give it."""

    problem: str
    domain: str
    teacher: Path
    student: Path


def _score_pair(pair: _Pair) -> None:
    """Show how the steps of two texts align."""
    from rlkd_plugin.engines.scoring import Sample
    from rlkd_plugin.gsrm.prompts import DOMAINS
    from rlkd_plugin.llm_io.settings import load_settings
    from rlkd_plugin.rlkd_cli.tables.alignment_table import show_alignment
    from rlkd_plugin.rlkd_cli.tables.consoles import plain_console
    from rlkd_plugin.rlkd_eval.scores.offline_scorer import OfflineScorer
    from rlkd_plugin.swift_hooks.engine_choice import choose_engine

    if pair.domain not in DOMAINS:
        raise RlkdError(f"--domain {pair.domain} is not one of {', '.join(DOMAINS)}")
    sample = Sample(
        _text_of(pair.student, "--student"),
        _problem_of(pair.problem),
        pair.domain,
        _text_of(pair.teacher, "--teacher"),
    )
    # a reader wants whole structures, also after the end of the comparison
    settings = load_settings().model_copy(update={"stream_structures": False})
    engine, cache = choose_engine(settings)
    scorer = OfflineScorer(engine, cache, settings, _max_chars(engine, settings))

    async def work() -> "TraceRow":
        async with engine:
            await engine.probe()
            return scorer.trace(await scorer.score(sample), sample)

    show_alignment(run_stoppable(work()), settings.scale, plain_console())


def _max_chars(engine: object, settings: "Settings") -> int:
    """Return how many characters of a path an engine reads: the small one has limits of its own."""
    return getattr(engine, "settings", settings).gsrm_max_chars


def _problem_of(given: str) -> str:
    """Return the content of the file that a text names, else the text itself."""
    is_file = len(given.encode()) <= LONGEST_NAME and Path(given).is_file()
    return _text_of(Path(given), "--problem") if is_file else given.strip()


def _text_of(file: Path, option: str) -> str:
    """Return a file's text.

    Raises:
        RlkdError: if there is none, or it holds no text.
    """
    try:
        text = file.read_text("utf-8").strip()
    except FileNotFoundError:
        raise RlkdError(f"{option}: there is no file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RlkdError(f"{option}: {file} cannot be read as a text: {error}") from None
    if not text:
        raise RlkdError(f"{option}: {file} is empty")
    return text
