"""The schedule of the authors' published reward, written anew, to compare with.

It decomposes all students, then the teacher of every completion, each set in one batch. Then a pool
of threads takes a completion each and asks the judge one question at a time: all meta-reasonings up
to the first that differs, then the sub-problems of the steps that matched, then their answers. The
prompts and the reading of the replies are this project's, so that only the schedule differs.
"""

import http.client
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from benchmarks.request_log import RequestLog
from rlkd_plugin.engines.scoring import Sample
from rlkd_plugin.gsrm import Field, FormatError, Structure, parse_structure
from rlkd_plugin.gsrm.prompts import judge_prompt
from rlkd_plugin.gsrm.texts import reasoning_path, teacher_path
from rlkd_plugin.llm_io.replies import Reply, read_reply
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.verdicts import read_verdict


class Reference:
    """Scores a batch by that schedule.

    Args:
        engine: names the servers, the models and the prompts.
        workers: threads of the pool; None for Python's own number, as published.
    """

    def __init__(self, engine: ServerEngine, workers: int | None) -> None:
        self.engine = engine
        self.workers = workers
        self.logs = {"GSRM": RequestLog(), "judge": RequestLog()}
        self._local = threading.local()
        self._lock = threading.Lock()

    def score(self, samples: Sequence[Sample]) -> list[float]:
        """Return the reward of each sample."""
        students = self._decompose([(s, reasoning_path(s.completion)) for s in samples])
        teachers = self._decompose([(s, teacher_path(s.teacher_reasoning)) for s in samples])
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self._walk, teachers, students))

    def _decompose(self, paths: Sequence[tuple[Sample, str]]) -> list[Structure | None]:
        def one(path: tuple[Sample, str]) -> Structure | None:
            sample, text = path
            prompt, options = self.engine.decompose_request(sample.problem, sample.domain, text)
            try:
                return parse_structure(self._ask("GSRM", prompt, **options).text)
            except FormatError:
                return None

        with ThreadPoolExecutor(len(paths)) as all_at_once:  # the server's own batch
            return list(all_at_once.map(one, paths))

    def _walk(self, teacher: Structure | None, student: Structure | None) -> float:
        if teacher is None or student is None:
            return 0.0
        pairs = list(zip(teacher.steps, student.steps, strict=False))
        scores: list[float] = []
        for one, other in pairs:
            if not self._match("meta_reasoning", one.meta_reasoning, other.meta_reasoning):
                break
            scores.append(1.0)
        for name in ("sub_problem", "answer"):
            for number, (one, other) in enumerate(pairs[: len(scores)]):
                if not self._match(name, getattr(one, name), getattr(other, name)):
                    scores[number] *= 0.5
        return sum(scores)

    def _match(self, name: Field, teacher: str, student: str) -> bool:
        options = self.engine.verdict_options()
        reply = self._ask("judge", judge_prompt(name, teacher, student), **options)
        verdict = read_verdict(reply, self.engine.settings.judge_threshold)
        return bool(verdict and verdict.matched)

    def _ask(self, role: str, prompt: str, **options: Any) -> Reply:
        endpoint = (self.engine.gsrm if role == "GSRM" else self.engine.judge).endpoint
        messages = [{"role": "user", "content": prompt}]
        body = {"model": endpoint.model, "messages": messages, "temperature": 0.0, **options}
        begin = time.monotonic()
        reply = read_reply(self._post(endpoint.urls[0], json.dumps(body).encode()))
        with self._lock:
            self.logs[role].add(reply, begin)
        return reply

    def _post(self, url: str, body: bytes) -> bytes:
        """Send a request on this thread's own connection."""
        parts = urlsplit(url)
        connection = getattr(self._local, parts.netloc, None)
        if connection is None:
            connection = http.client.HTTPConnection(parts.netloc, timeout=600)
            setattr(self._local, parts.netloc, connection)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"{parts.path}/chat/completions", body, headers)
        answer = connection.getresponse()
        payload = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"HTTP {answer.status}: {payload[:300]!r}")
        return payload
