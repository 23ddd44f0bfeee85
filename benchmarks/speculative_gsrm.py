"""Whether n-gram speculative decoding makes a GSRM faster: a structure repeats words of its path.

    python -m benchmarks.speculative_gsrm --vllm VENV/bin/vllm --data gsm8k_train.jsonl

Two servers of vLLM, one as in the Procfiles and one with n-gram drafts beside it, decompose the
same paths in turn, one request at a time and eight at once. The GSRM is SmolLM2-135M-Instruct,
untrained (`construct`, free and under the regex), and the small GSRM, which was trained on such
paths. Prompts are in the prefix cache before the clock starts, so what is measured is decoding.
Prints tokens a second and their ratio, the acceptance length (tokens for each pass over the
weights, of the passes with a draft) and the share of the texts that are equal.

The acceptance length is a fact of the texts and carries over to other devices; the ratio does not:
to check a draft a CPU computes what a GPU computes beside its reading of the weights.

The worked examples of the `construct` prompt, structures as a strong model writes them, are then
replayed without a model: which tokens of each would drafts from its prompt and itself have given.
"""

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm.prompts import DOMAINS, decompose_prompt
from rlkd_plugin.llm_io.ports import free_port
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_data.rows.row_format import gsm8k_row
from tools.ngram_drafts import DRAFTS, LONGEST, SHORTEST, replay
from tools.stand_ins.places import MODEL, ROOT

TURNS = 5
"""Least turns of each server in a round."""
SPECULATION = {
    "method": "ngram",
    "num_speculative_tokens": DRAFTS,
    "prompt_lookup_max": LONGEST,
    "prompt_lookup_min": SHORTEST,
}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The dialogue in which the small GSRM was trained: no system message."""
EXAMPLE = re.compile(
    r"⟦problem⟧\n(.*?)\n⟦end of problem⟧\n⟦reasoning path⟧\n(.*?)\n⟦end of reasoning path⟧\n\n"
    r"Structure:\n(.*?)\n\[End\]",
    re.DOTALL,
)


@dataclass
class Run:
    """The measurements of a server."""

    tokens: int = 0
    seconds: float = 0.0
    drafts: int = 0
    accepted: int = 0

    @property
    def pace(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds

    @property
    def acceptance_length(self) -> float:
        """Tokens for each pass that had a draft."""
        return 1 + self.accepted / max(1, self.drafts)


@contextlib.contextmanager
def server(vllm: str, model: Path, log: Path, *words: str) -> Iterator[str]:
    """Serve a model as the GSRM until the block ends; yields its URL."""
    port = free_port()
    options = ["--generation-config", "vllm", "--served-model-name", "gsrm", "--dtype", "bfloat16"]
    options += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "8192"]
    guard = ["rlkd", "guard", "--server"]
    with log.open("w") as file:
        command = [*guard, vllm, "serve", str(model), *options, "--enforce-eager", *words]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers."""
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"{log.read_text()[-3000:]}\nthe server has ended") from None
            time.sleep(1)


def counts(url: str) -> tuple[int, int]:
    """Return the drafts that a server has made, and the tokens of them that it accepted."""
    with urllib.request.urlopen(f"{url}/metrics") as reply:
        text = reply.read().decode()
    names = ("num_drafts", "num_accepted_tokens")
    found = [
        re.search(rf"^vllm:spec_decode_{name}_total\{{.*\}} (\S+)$", text, re.M) for name in names
    ]
    drafts, accepted = (int(float(each[1])) if each else 0 for each in found)
    return drafts, accepted


async def ask(engine: ServerEngine, rows: Sequence[dict[str, str]]) -> list[Reply]:
    """Return the replies for the paths of the rows, all at once."""

    async def one(row: dict[str, str]) -> Reply:
        prompt, options = engine.decompose_request(row["problem"], "math", row["teacher_reasoning"])
        message = {"role": "user", "content": prompt}
        return await engine.gsrm.complete([message], temperature=0.0, **options)

    async with engine:
        return list(await asyncio.gather(*map(one, rows)))


def timed(url: str, engine: ServerEngine, run: Run, rows: Sequence[dict[str, str]]) -> list[str]:
    """Return the texts of the replies, and add to what the server did."""
    before = counts(url)
    start = time.monotonic()
    replies = asyncio.run(ask(engine, rows))
    run.seconds += time.monotonic() - start
    after = counts(url)
    run.tokens += sum(reply.completion_tokens for reply in replies)
    run.drafts += after[0] - before[0]
    run.accepted += after[1] - before[1]
    return [reply.text for reply in replies]


def compare(
    title: str, urls: Sequence[str], rows: Sequence[dict[str, str]], rounds: int, **options: Any
) -> None:
    """Ask the plain server and the one with drafts in turn, and print a line for each load."""
    engines = [
        ServerEngine(
            Settings(gsrm_base_url=(f"{url}/v1",), gsrm_model="gsrm", **options), roles=["GSRM"]
        )
        for url in urls
    ]
    for engine in engines:  # the prompts are cached then, and the drafts' code is compiled
        asyncio.run(ask(engine, rows))
    for at_once in (1, 8):
        runs = [Run() for _ in urls]
        equal = asked = 0
        groups = [rows[n : n + at_once] for n in range(0, len(rows), at_once)]
        turns = rounds * max(1, TURNS // len(groups))
        for group in groups * turns:  # short turns: other work on the machine meets both
            texts = [
                timed(url, engine, run, group)
                for url, engine, run in zip(urls, engines, runs, strict=True)
            ]
            equal += sum(one == other for one, other in zip(*texts, strict=True))
            asked += len(group)
        plain, drafted = runs
        share = drafted.accepted / max(1, drafted.drafts * DRAFTS)
        print(
            f"| {title} | {at_once} | {plain.pace:.1f} | {drafted.pace:.1f} "
            f"| {drafted.pace / plain.pace:.2f} | {drafted.acceptance_length:.2f} | {share:.0%} "
            f"| {drafted.accepted / drafted.tokens:.0%} | {equal} of {asked} |",
            flush=True,
        )


def merged(folder: Path) -> Path:
    """Write the small GSRM, with its adapter merged into the base model."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter = ROOT / "rlkd_plugin" / "swift_hooks" / "local" / "small_gsrm"
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    tuned: Any = PeftModel.from_pretrained(base, str(adapter))
    tuned.merge_and_unload().to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(MODEL).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHATML)
    return folder


def replay_examples() -> None:
    """Print what drafts would have given of the worked examples."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    tokens = passes = drafts = accepted = found = 0
    for domain in DOMAINS:
        text = decompose_prompt("construct", domain, "", "")
        for problem, path, structure in EXAMPLE.findall(text):
            prompt = tokenizer(decompose_prompt("gsrm", domain, problem, path))["input_ids"]
            answer = tokenizer(structure)["input_ids"]
            counted = replay(prompt, answer)
            found, tokens, passes = found + 1, tokens + len(answer), passes + counted[0]
            drafts, accepted = drafts + counted[1], accepted + counted[2]
    print(
        f"{found} worked examples replayed: acceptance length {1 + accepted / drafts:.2f}, "
        f"{accepted / tokens:.0%} of {tokens} tokens from drafts, "
        f"{tokens / passes:.2f} tokens a pass"
    )


def main() -> None:
    """Compare on both models, then replay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm", required=True, help="the vllm command of a CPU build")
    parser.add_argument("--data", type=Path, required=True, help="GSM8K's rows")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=96, help="most tokens of a structure")
    given = parser.parse_args()
    with given.data.open(encoding="utf-8") as lines:
        rows = [gsm8k_row(json.loads(line)) for line in islice(lines, given.rows)]
    replay_examples()
    print(
        "| GSRM | at once | plain | with drafts | ratio | acceptance length | of drafts "
        "| of tokens | equal |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    words = ("--speculative-config", json.dumps(SPECULATION))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = merged(folder / "small")
        cases: list[tuple[Path, list[tuple[str, dict[str, Any]]]]] = [
            (small, [("small GSRM", {"gsrm_prompt": "gsrm"})]),
            (
                MODEL,
                [
                    ("SmolLM2", {"gsrm_prompt": "construct"}),
                    ("SmolLM2, regex", {"gsrm_prompt": "construct", "gsrm_regex": True}),
                ],
            ),
        ]
        for model, titles in cases:
            with (
                server(given.vllm, model, folder / "plain.log") as plain,
                server(given.vllm, model, folder / "drafts.log", *words) as drafted,
            ):
                for title, options in titles:
                    options |= {"gsrm_max_tokens": given.tokens}
                    compare(title, (plain, drafted), rows, given.rounds, **options)


if __name__ == "__main__":
    main()
