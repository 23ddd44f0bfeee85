"""Measures one model for `rlkd diversity`: serves it, draws responses, measures their steps."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.llm_io.prompted_engine import body_digest
from rlkd_plugin.llm_io.prompting import Prompting
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.weight_fingerprint import weights_of
from rlkd_plugin.rlkd_cli.stop_signals import run_stoppable
from rlkd_plugin.rlkd_cli.template_option import serve
from rlkd_plugin.rlkd_data.embedder import Embedder
from rlkd_plugin.rlkd_data.embedding_check import check_early
from rlkd_plugin.rlkd_data.rows.row_files import Row
from rlkd_plugin.rlkd_eval.diversity_job import WRITTEN, check_structures, draw_all, measure_all
from rlkd_plugin.rlkd_eval.diversity_plan import DiversityJob, Drawing
from rlkd_plugin.rlkd_eval.finished import is_measured
from rlkd_plugin.rlkd_eval.plans import Plan, claim_folder, keep_plan
from rlkd_plugin.rlkd_eval.run_models import RunModel
from rlkd_plugin.swift_hooks.local.device_memory import free_device_memory


@dataclass
class DiversityMeter:
    """Measures models with the options of a command.

    Attributes:
        source: the file or folder of the questions.
        questions: the rows read from it.
        drawing: how responses are drawn.
        settings: name the servers, except those that are started here.
        engine: decomposes the responses.
        embedder: embeds the steps.
        embeds_here: whether the embedder is a model in this process, which needs its device.
        prompting: how a server that is started here prompts its model.
        server_options: more options of this server, as on a command line.
    """

    source: Path
    questions: Sequence[Row]
    drawing: Drawing
    settings: Settings
    engine: Engine
    embedder: Embedder
    embeds_here: bool
    prompting: Prompting
    server_options: str
    _embedder_is_checked: bool = field(default=False, init=False)

    def measure(self, out: Path, label: str, model: str, adapter: str) -> None:
        """Measure a model, or resume its measurement.

        Args:
            out: the folder of its results.
            label: its name in tables.
            model: its folder or id; empty for the server that the settings name.
            adapter: the folder of a LoRA for it, or nothing.
        """
        with claim_folder(out):
            keep_plan(out, self._plan(model, adapter), WRITTEN)
            self._measure(DiversityJob(out, self.source, self.drawing, label), model, adapter)

    def measure_snapshot(self, out: Path, one: RunModel) -> bool:
        """Measure a model of a run; return False where that was done before."""
        with claim_folder(out):
            keep_plan(out, self._plan(one.model, one.adapter), WRITTEN)
            job = DiversityJob(out, self.source, self.drawing, one.label)
            if is_measured(job, self.questions, self.engine, self.embedder):
                return False
            self._measure(job, one.model, one.adapter)
        return True

    def _plan(self, model: str, adapter: str) -> Plan:
        served = {"model": model or self.settings.student_model, "adapter": adapter}
        facts: dict[str, Any] = {**served, **weights_of(model, adapter), **vars(self.drawing)}
        if self.settings.student_body:  # it may hold what no file should show
            facts["body"] = body_digest(self.settings.student_body)
        if self.prompting.template:
            facts["template"] = self.prompting.template
        return Plan("rlkd diversity", facts)

    def _measure(self, job: DiversityJob, model: str, adapter: str) -> None:
        check_structures(job)
        self._check_embedder()
        self._draw(job, model, adapter)
        run_stoppable(
            measure_all(job, self.questions, self.engine, self.embedder, self.settings.concurrency)
        )
        self._free_device()

    def _check_embedder(self) -> None:
        """Check the embedder once per command, before hours of drawing."""
        if not self._embedder_is_checked:
            run_stoppable(check_early(self.embedder))
            self._free_device()
            self._embedder_is_checked = True

    def _draw(self, job: DiversityJob, model: str, adapter: str) -> None:
        """Draw the responses; then our server's device is free for the embeddings."""
        log = job.out / "server.log"
        server = nullcontext()
        if model:
            server = serve(model, adapter, self.server_options, log, self.prompting)
        with server as served:
            update: Mapping[str, Any] = {}
            if served:
                update = {"student_base_url": (served.url,), "student_model": served.name}
            run_stoppable(draw_all(job, self.questions, self.settings.model_copy(update=update)))

    def _free_device(self) -> None:
        """Free the device for the next server."""
        if self.embeds_here:
            free_device_memory()
