"""Reads the folders of a report; their files show which kinds of results they hold."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_data.jobs.record import Facts
from rlkd_plugin.rlkd_data.snapshots import checkpoint_step
from rlkd_plugin.rlkd_eval.comparison import COMPARISON, Comparison
from rlkd_plugin.rlkd_eval.kept_files import read_json
from rlkd_plugin.rlkd_eval.phase_log import PhaseStep, phase_steps
from rlkd_plugin.rlkd_eval.report.trace_sample import TraceSample, sample_traces
from rlkd_plugin.rlkd_eval.results import DIVERSITY, EVALUATION, Diversity, Evaluation
from rlkd_plugin.rlkd_eval.run_log import (
    LOG,
    StepRecord,
    grpo_steps,
    log_entries,
    number_of,
    reward_names,
    run_folder,
    step_of,
)
from rlkd_plugin.rlkd_eval.run_rewards import RunRewards, read_rewards
from rlkd_plugin.rlkd_eval.scores.scored import Scored, read_maker

TRACES = "rlkd_trace_rank*.jsonl"

SHARES = {
    "rlkd/refused": "rejected by the GSRM or the judge",
    "rlkd/undecomposable": "undecomposable: no structure of the student's text",
    "rlkd/no_teacher": "without a structure of the teacher",
    "rlkd/clipped": "too long for the GSRM, and clipped",
    "rlkd/cut_structure": "students' structures cut at the GSRM's token limit",
    "rlkd/stopped_early": "structures stopped early: the rest could not change the reward",
    "rlkd/beyond_teacher": "longer than the teacher: they continue beyond its last step",
    "rlkd/cut_off": "cut off at the length limit",
}
TEACHER_SHARES = {
    "rlkd/clipped_teacher": "teachers too long for the GSRM, and clipped",
    "rlkd/cut_teacher": "teachers' structures cut at the GSRM's token limit",
    "rlkd/unreadable_structure": "teachers whose teacher_structure is unreadable",
}
COSTS = {
    "rlkd/retries": "retries of requests",
    "rlkd/requests": "requests to the GSRM and the judge",
    "rlkd/seconds": "seconds of the reward",
}
OFF_POLICY = {
    "rollout_correction/k3_kl": "distance of the rollouts' policy from the student (k3_kl)",
    "rollout_correction/log_ppl_abs_diff": "log-perplexities of rollouts and student: difference",
}
"""The keys of health: shares of completions, of teachers, sums of a step, and ms-swift's off-policy
metrics (`log_rollout_offpolicy_metrics`)."""

HEALTH = SHARES | TEACHER_SHARES | COSTS | OFF_POLICY

OTHER_BRANCH = "rlkd/other_branch"
BRANCH_GAINS = {"rlkd/branch_gain": "at least", "rlkd/branch_gain_at_most": "at most"}
"""The keys of runs with several teacher branches: the share of completions that another branch than
the first won, and the bounds of the gain."""

Points = list[tuple[int, float]]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Source:
    """The content of one folder; missing parts are empty or None.

    `maker` holds the settings that the rewards of `scored` depend on.
    """

    name: str
    folder: Path
    steps: tuple[StepRecord, ...] = ()
    health: Mapping[str, Points] = field(default_factory=dict)
    rewards: RunRewards = field(default_factory=RunRewards)
    phases: Sequence[PhaseStep] = ()
    progress: str = ""
    traces: TraceSample | None = None
    maker: Facts | None = None
    evaluation: Evaluation | None = None
    diversity: Diversity | None = None
    comparison: Comparison | None = None
    remarks: tuple[str, ...] = ()

    @property
    def scored(self) -> Scored | None:
        """The result of `rlkd score`, or None where the folder has none."""
        return self.traces.scored if self.traces else None

    @property
    def is_empty(self) -> bool:
        """Whether the folder has nothing to show."""
        seen = self.traces and self.traces.rows
        results = self.evaluation or self.diversity or self.comparison
        return not (self.steps or self.phases or seen or results)


@dataclass(frozen=True)
class _Log:
    """The fields of `Source` that a log gives, and its remarks."""

    steps: tuple[StepRecord, ...] = ()
    rewards: Sequence[str] = ()
    health: Mapping[str, Points] = field(default_factory=dict)
    phases: Sequence[PhaseStep] = ()
    progress: str = ""
    remarks: Sequence[str] = ()


def read_sources(folders: Sequence[Path]) -> list[Source]:
    """Read the folders; a file that cannot be read becomes a remark of its folder.

    Raises:
        RlkdError: if none of them has anything to show.
    """
    found = (place for folder in folders for place in _places(folder))
    places = list({place.resolve(): place for place in found}.values())
    traced = sum(any(place.glob(TRACES)) for place in places)
    names = _names(places)
    sources = [_read_or_remark(name, p, traced) for name, p in zip(names, places, strict=True)]
    if all(source.is_empty for source in sources):
        remarks = "; ".join(f"{s.folder}: {', '.join(s.remarks)}" for s in sources)
        raise RlkdError(
            f"there is nothing to report: {remarks}; name folders of runs, of `rlkd eval`, of "
            f"`rlkd score`, of `rlkd diversity` or with a {COMPARISON}"
        )
    return sources


def _places(folder: Path) -> list[Path]:
    """Return the folder, its newest run `v*-*`, and the measured models of a run in it."""
    held = [folder] if _is_measured(folder) else []
    models = {
        step: p
        for p in folder.glob("checkpoint-*")
        if (step := checkpoint_step(p)) is not None and _is_measured(p)
    }
    held += [place for _, place in sorted(models.items())]
    try:
        held.append(run_folder(folder))
    except RlkdError:
        return held or [folder]
    return list(dict.fromkeys(held))


def _is_measured(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (EVALUATION, DIVERSITY, COMPARISON))


def _names(places: Iterable[Path]) -> list[str]:
    """Return the folders' own names, with as much of their parents as makes them distinct."""
    whole = [place.resolve().parts for place in places]
    names = []
    for path in whole:
        # a date or a step alone is not enough
        count = 2 if re.match(r"v\d+-|checkpoint-\d+$", path[-1]) else 1
        while sum(other[-count:] == path[-count:] for other in whole) > 1 and count < len(path):
            count += 1
        names.append("/".join(path[-count:]))
    return names


def _read_or_remark(name: str, folder: Path, traced: int) -> Source:
    try:
        return _read(name, folder, traced)
    except OSError as error:
        return Source(name, folder, remarks=(f"cannot be read: {error}",))


def _read(name: str, folder: Path, traced: int) -> Source:
    if not folder.is_dir():
        return Source(name, folder, remarks=("there is no such folder",))
    log = _read_log(folder / LOG) if (folder / LOG).is_file() else _Log()
    remarks = [*log.remarks]
    traces, rewards, maker = None, RunRewards(), None
    files = sorted(folder.glob(TRACES))
    if files:
        traces = sample_traces(files, traced)
        remarks += traces.remarks() or ([] if traces.rows else ["an empty trace"])
        if traces.scored:
            maker, of_maker = read_maker(folder)
            remarks += of_maker
    if log.steps:
        rewards = read_rewards(folder, log.rewards, [s.step for s in log.steps], files)
        remarks += rewards.remarks
    source = Source(
        name,
        folder,
        steps=log.steps,
        health=log.health,
        rewards=rewards,
        phases=log.phases,
        progress=log.progress,
        traces=traces,
        maker=maker,
        evaluation=_read_result(folder / EVALUATION, Evaluation, remarks),
        diversity=_read_result(folder / DIVERSITY, Diversity, remarks),
        comparison=_read_result(folder / COMPARISON, Comparison, remarks),
    )
    if source.is_empty and not remarks:
        remarks = [
            f"there is no {LOG}, no trace, no {EVALUATION}, no {DIVERSITY} and no {COMPARISON}"
        ]
    return replace(source, remarks=tuple(remarks))


def _read_result(file: Path, kind: type[Result], remarks: list[str]) -> Result | None:
    """Return a job's result, or None where there is none; add to `remarks` if it is broken."""
    if file.is_file():
        try:
            return read_json(file, kind)
        except (RlkdError, OSError) as error:
            remarks.append(str(error))
    return None


def _read_log(log: Path) -> _Log:
    entries, remarks = log_entries(log)
    if phases := phase_steps(entries):
        return _Log(phases=phases, progress=_progress(entries), remarks=remarks)
    steps, missing = grpo_steps(entries)
    if not steps:
        return _Log(remarks=[*remarks, f"the {LOG} has no step of a run with a reward"])
    health: dict[str, dict[int, float]] = {
        key: {} for key in (*HEALTH, OTHER_BRANCH, *BRANCH_GAINS)
    }
    for entry in entries:
        for key, points in health.items():
            number, step = number_of(entry.get(key)), step_of(entry)
            if number is not None and step is not None:
                points[step] = number  # as logged last, where a run was resumed
    return _Log(
        steps=tuple(steps),
        rewards=reward_names(entries),
        health={key: sorted(points.items()) for key, points in health.items() if points},
        progress=_progress(entries),
        remarks=[*remarks, *missing],
    )


def _progress(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return how far a run is, and whether it ended."""
    progress = [
        str(entry["global_step/max_steps"]) for entry in entries if step_of(entry) is not None
    ]
    done, _, most = progress[-1].partition("/")
    # an end before later steps is that of a part of the run, which was resumed
    last = takewhile(lambda e: step_of(e) is None or "train_runtime" in e, reversed(entries))
    if done == most or any("train_runtime" in entry for entry in last):
        return f"ended at step {done} of {most}"
    left = next((str(e["remaining_time"]) for e in entries[::-1] if "remaining_time" in e), "")
    about = f", {left} left by its own estimate" if left else ""
    return f"at step {done} of {most}{about}: still running, or stopped before its end"
