"""The CPU time of our process for long paths, with its requests and without them."""

import time

from benchmarks.reward_engines import MemoryCache, OfflineEngine
from rlkd_plugin.engines.scoring import Sample
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from tools.stand_ins.batch import score

FILLER = "Wait, let me look at this once more before I go on with the next part of it. "


def long_samples(prompts: int) -> list[Sample]:
    """Return four completions for each prompt; all of a path's 12 steps match the teacher's."""
    samples = []
    for number in range(4 * prompts):
        steps = [f"In room {n} there are {n + 2} + {n + 3} = {2 * n + 5} pens." for n in range(12)]
        path = "\n".join(f"{step} {FILLER * 17}" for step in steps)
        teacher = path.replace("there are", "we find")
        completion = f"<think>{path} {number}</think>"
        samples.append(Sample(completion, f"Problem {number // 4}", "math", teacher))
    return samples


def measure_cpu(settings: Settings, prompts: int) -> None:
    """Print the CPU time of a completion, with requests, streamed and whole, and without."""
    samples = long_samples(prompts)
    length = sum(len(sample.completion) for sample in samples) // len(samples)
    whole_settings = settings.model_copy(update={"stream_structures": False})
    whole, offline = ServerEngine(whole_settings), OfflineEngine(whole_settings)
    cache = MemoryCache()
    offline.structure = next(
        one.student.structure for one in score(whole, samples, cache) if one.student.structure
    )
    engines = {
        "with its requests, structures streamed": ServerEngine(settings),
        "with its requests, structures whole": whole,
        "without": offline,
    }
    for name, kind in engines.items():
        times = []
        for _ in range(7):
            begin = time.process_time()
            scores = score(kind, samples, cache)
            times.append((time.process_time() - begin) / len(samples) * 1000)
        questions = sum(len(one.verdicts) for one in scores) / len(samples)
        print(
            f"{len(samples)} completions of {length:,} characters, {questions:.0f} questions "
            f"each, {name}: {sorted(times)[3]:.2f} ms of CPU time each (median of 7)"
        )
