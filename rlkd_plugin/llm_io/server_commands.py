"""Builds the command lines of `vllm serve` and `swift deploy`."""

import json
import secrets
import shutil
import sys
from pathlib import Path

from rlkd_plugin.llm_io.prompting import CHAT_TEMPLATE, Prompting

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's `--max-lora-rank`."""
PLUGIN_FILE = Path(__file__).resolve().parents[1] / "register.py"
"""Value of `--external_plugins`."""


def has_vllm() -> bool:
    """Return whether vLLM's command is installed."""
    return bool(shutil.which("vllm"))


def vllm_command(
    model: str, adapter: str, port: int, name: str, files: Path | None = None
) -> list[str]:
    """Return the command of vLLM.

    Args:
        model: a folder or a hub's id.
        adapter: a LoRA's folder, or empty.
        port: on this machine.
        name: of the model on the server.
        files: the folder with the files of a template; None for the model's own.
    """
    command = ["vllm", "serve", model, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--seed", str(secrets.randbelow(2**31)), *template_options(files)]
    if not adapter:
        return [*command, "--served-model-name", name]
    rank = json.loads((Path(adapter) / "adapter_config.json").read_text("utf-8"))["r"]
    allowed = next((r for r in LORA_RANKS if r >= rank), rank)
    command += ["--enable-lora", "--max-lora-rank", str(allowed)]
    return [*command, "--lora-modules", f"{name}={adapter}"]


def template_options(files: Path | None) -> list[str]:
    """Return vLLM's options for the files of a template, or for the model's own template.

    In both cases top_k and repetition penalty of the model's generation_config are not used.
    """
    if files is None:
        return ["--generation-config", "vllm"]
    return ["--chat-template", str(files / CHAT_TEMPLATE), "--generation-config", str(files)]


def deploy_command(
    model: str, adapter: str, port: int, name: str, prompting: Prompting
) -> list[str]:
    """Return the command of `swift deploy`; the arguments are those of `vllm_command`.

    A checkpoint's `args.json` holds the plugin's path as it was typed, often relative to another
    folder. So the path is given here if it is needed.
    """
    command = [sys.executable, "-m", "swift.cli.deploy", "--model", model, "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served_model_name", name, "--verbose", "false"]
    command += ["--infer_backend", "transformers", "--max_batch_size", "16"]
    # generation_config.json would fill in missing options, and a top_k of 0
    command += ["--top_p", "1", "--top_k", "1000000", "--repetition_penalty", "1"]
    if adapter:
        command += ["--adapters", adapter]
    if prompting.template or prompting.is_trained:
        # `dummy` uses the tokenizer's chat template, if args.json names another one
        template = prompting.template or "dummy"
        command += ["--template", template, "--external_plugins", str(PLUGIN_FILE)]
    return command
