"""Decomposes paths by an engine, and writes each structure, the tokens and the seconds.

    python -m examples.small_gsrm.decompose_paths PAIRS FOUND --engine rules
    ... --engine small --adapter OUT/adapters/gsrm
    ... --engine untuned --rows 12

`untuned` is the base model with the `construct` prompt and its worked examples. The output's last
line has the sums.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path

from rlkd_plugin.engines.base import Engine
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import render_structure
from rlkd_plugin.llm_io.settings import Settings

MODEL = Path(__file__).resolve().parents[2] / "models" / "SmolLM2-135M-Instruct"


def engine_of(name: str, adapter: Path | None = None, model: Path = MODEL) -> Engine:
    """Return an engine by its name: rules, small, untuned, or judge for a judge's adapter alone."""
    if name == "rules":
        return RulesEngine()
    from rlkd_plugin.swift_hooks.local.local_engine import LocalEngine
    from rlkd_plugin.swift_hooks.local.small_engine import (
        ADAPTER,
        MOST_TOKENS,
        SmallEngine,
        merge_adapter,
    )

    if name == "small":
        return SmallEngine(Settings(small_model=str(model)), adapter or ADAPTER)
    if name == "judge":
        assert adapter, "a judge is an adapter"
        judge, template, _ = merge_adapter(str(model), adapter)
        return LocalEngine(Settings(), judge, template)
    import torch
    from swift.model import get_model_processor
    from swift.template import get_template

    from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
    from rlkd_plugin.swift_hooks.local.grouped_attention import share_keys

    untuned, processor = get_model_processor(
        str(model), model_type="llama", torch_dtype=getattr(torch, cpu_dtype())
    )
    assert untuned is not None
    share_keys(untuned)
    template = get_template(processor, template_type="chatml")
    settings = Settings(gsrm_prompt="construct", gsrm_max_tokens=MOST_TOKENS)
    return LocalEngine(settings, untuned.eval(), template)


async def decompose_paths(rows: list[dict], engine: Engine, out: Path) -> None:
    """Write the rows with the engine's structures of their paths."""
    async with engine:
        begin = time.monotonic()
        tasks = (engine.decompose(r["problem"], r["domain"], r["reasoning_path"]) for r in rows)
        found = await asyncio.gather(*tasks)
        seconds = time.monotonic() - begin
        usage = engine.usage
    lines = [
        {**row, "found": render_structure(one.structure) if one.structure else None}
        for row, one in zip(rows, found, strict=True)
    ]
    sums = {
        "rows": len(rows),
        "seconds": seconds,
        "requests": usage.requests,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [*lines, sums])
    out.write_text(text, "utf-8")
    print(json.dumps(sums))


def main() -> None:
    """Decompose the paths of a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--engine", choices=("rules", "small", "untuned"), required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--rows", type=int, help="only the first rows of the file")
    options = parser.parse_args()
    lines = options.pairs.read_text("utf-8").splitlines()[: options.rows]
    engine = engine_of(options.engine, options.adapter)
    if options.engine != "rules":
        import torch

        torch.manual_seed(0)  # a retry samples
    asyncio.run(decompose_paths(list(map(json.loads, lines)), engine, options.out))


if __name__ == "__main__":
    main()
