"""Every command in the docs, the YAMLs' heads and the Procfiles is one that its program takes.

Options and their values go through the program's own parser, without starting anything: those of
`swift` through ms-swift's argument classes, of `rlkd`, `honcho` and `modelscope` through theirs.
`vllm serve` is compared with the options of vLLM's parser in a fixture (tools/vllm_options.py), and
`megatron` with the fields of ms-swift's Megatron arguments: neither starts here.
"""

import argparse
import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tools import idle_table, memory_table
from tools.stand_ins.places import ROOT
from tools.stand_ins.recipes import read

TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
YAMLS = sorted((ROOT / "swift_configs").glob("*.yaml"))
PROCFILES = sorted((ROOT / "swift_configs").glob("Procfile.*"))
ELSEWHERE = {
    *("pip", "git", "source", "export", "cp", "sed", "shuf", "make", "python", "mkdir"),
    *("ray",),  # is not installed here
}
"""Programs whose options are not looked at."""
ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=")
FENCE = re.compile(r"^ *```(bash|console)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
"""A block of commands; one of `console` has their output too."""


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each command's words and where it stands."""
    for file in TEXTS:
        for language, block in FENCE.findall(file.read_text("utf-8")):
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                if language == "bash":
                    yield from _words(file.name, line)
                elif found := re.match(r"\s*\$ (.*)", line):
                    yield from _words(file.name, found[1])
    for file in YAMLS:
        text = re.sub(r"\\\n#\s*", " ", file.read_text("utf-8"))
        for line in re.findall(r"^# {2,}(.*)$", text, re.MULTILINE):
            yield from _words(file.name, line)
    for file in PROCFILES:
        values = environment(file.name)
        for line in file.read_text("utf-8").splitlines():
            if not line.startswith("#"):
                line = filled(line.partition(": ")[2], values)
                yield from _words(
                    file.name, re.sub(r'rlkd guard(?: --server)? sh -c "(.*)"$', r"&& \1", line)
                )


def environment(procfile: str) -> dict[str, str]:
    """The variables of a Procfile: those of a recipe, and a user's."""
    from honcho.environ import parse

    given = parse((ROOT / "swift_configs" / "rlkd.env").read_text("utf-8"))
    return {**given, "GSRM": "gsrm_folder", "RESUME": "out/checkpoint-10", "ARGS": "--seed 7"}


def filled(line: str, values: dict[str, str]) -> str:
    """Put variables in their places, as a shell does."""
    line = re.sub(r"\$\{(\w+):\+([^}]*)\}", r"\2", line)
    line = re.sub(r"\$\{(\w+)(?::\?[^}]*)?\}", lambda found: values[found[1]], line)
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], line)


def _words(place: str, line: str) -> Iterator[tuple[str, list[str]]]:
    for part in re.split(r"&&|[|>]|\d>&1", line):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:  # prose with an apostrophe
            continue
        while words and (words[0] in ("exec", "env") or ASSIGNMENT.match(words[0])):
            words.pop(0)
        if words[:2] == ["rlkd", "guard"]:
            words = words[3:] if words[2] in ("--server", "--rollout") else words[2:]
        if words and re.fullmatch(r"[a-z][a-z-]+", words[0]):
            yield place, [word for word in words if word != "..."]


ALL = list(commands())
PROGRAMS = {"swift", "rlkd", "vllm", "honcho", "modelscope", "megatron", "curl"}
FOUND = [(place, words) for place, words in ALL if words[0] in PROGRAMS]


def test_the_commands_are_found() -> None:
    """At least one of each program; the Procfiles have one of each of their lines."""
    assert {words[0] for _, words in FOUND} == PROGRAMS
    counts = {file.name: [place for place, _ in FOUND].count(file.name) for file in PROCFILES}
    lines = {
        "5": 4 + 3,
        "6": 4 + 2,
        "7": 4,
        "8": 4,
        "o": 2,
    }  # and those that wait for another on a device
    assert counts == {name: lines[name[-1]] for name in counts}


def test_no_program_is_overlooked() -> None:
    """A block of commands names only programs that are checked or listed."""
    known = PROGRAMS | ELSEWHERE
    first = {words[0] for place, words in ALL if place == "recipes.md" or place == "ascend.md"}
    assert first <= known


@pytest.mark.parametrize(
    "command", FOUND, ids=lambda command: f"{command[0]}: {' '.join(command[1])[:60]}"
)
def test_a_command_is_taken(command: tuple[str, list[str]]) -> None:
    _, words = command
    wrong = {
        "swift": wrong_in_swift,
        "vllm": wrong_in_vllm,
        "megatron": wrong_in_megatron,
        "honcho": wrong_in_honcho,
        "rlkd": wrong_in_rlkd,
        "modelscope": wrong_in_modelscope,
        "curl": lambda words: [] if words[-1].startswith("http://") else ["no URL"],
    }[words[0]](words[1:])
    assert wrong == []


@cache
def parser_of(name: str) -> argparse.ArgumentParser:
    from swift import arguments
    from transformers import HfArgumentParser

    return HfArgumentParser([getattr(arguments, name)])


CLASSES = {
    "sft": "SftArguments",
    "rlhf": "RLHFArguments",
    "rollout": "RolloutArguments",
    "sample": "SamplingArguments",
    "deploy": "DeployArguments",
    "infer": "InferArguments",
    "export": "ExportArguments",
}


def wrong_in_swift(words: list[str]) -> list[str]:
    command, *options = words
    wrong = []
    if options and options[0].endswith(".yaml"):
        file = ROOT / options.pop(0)
        if file.name == "rlkd_colocate.yaml":  # the user's own, by docs/ascend.md
            assert options == []
            return []
        if not file.is_file() or ("rlhf_type" in read(file)) != (command == "rlhf"):
            wrong.append(f"{command} {file.name}")
    if options and not options[0].startswith("-"):
        return []  # a sentence that begins with the command
    parser = parser_of(CLASSES[command])
    try:
        _, unknown = argparse.ArgumentParser.parse_known_args(parser, options)
    except SystemExit:
        return [f"refused: {options}"]
    return wrong + unknown


def wrong_in_vllm(words: list[str]) -> list[str]:
    takes_value = json.loads((ROOT / "tests/fixtures/vllm_options.json").read_text())["takes_value"]
    command, _model, *options = words
    wrong = [] if command == "serve" else [command]
    while options:
        name = options.pop(0).partition(".")[0]  # a key of one whose value is JSON
        if name not in takes_value:
            wrong.append(name)
        elif takes_value[name] and not (options and not options.pop(0).startswith("--")):
            wrong.append(f"{name} without a value")
    return wrong


@cache
def megatron_options() -> set[str]:
    """The fields of the dataclasses, and those of the classes that they inherit from."""
    folder = Path(find_spec("swift").origin).parent
    files = [*(folder / "megatron" / "arguments").glob("*.py"), *folder.glob("arguments/**/*.py")]
    files += [folder / "rlhf_trainers" / "args_mixin.py"]
    return {
        node.target.id
        for file in files
        for body in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(body, ast.ClassDef)
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def wrong_in_megatron(words: list[str]) -> list[str]:
    known = megatron_options() | {"config"}
    return [word for word in words if word.startswith("--") and word[2:] not in known]


TARGET = re.compile(r"(?:^ *(?:\$ )?|`)make ([a-z][a-z-]*)(?![\w/])", re.MULTILINE)
MODULE = re.compile(r"python -m ((?:benchmarks|tools|examples)[\w.]*)((?:\\\n|[^`\n#])*)")
"""A script of the project, and its options up to the end of the code or of the line."""
PAGES = [*TEXTS, *sorted((ROOT / "docs" / "zh").glob("*.md")), *sorted(ROOT.glob("*.md"))]


def test_every_target_of_make_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in TARGET.findall(page.read_text("utf-8"))}
    assert {"demo", "docs"} <= named
    assert named <= targets


def test_every_script_of_a_page_has_the_options_that_the_page_gives_it() -> None:
    wrong: list[str] = []
    seen: set[str] = set()
    for page in PAGES:
        for module, options in MODULE.findall(page.read_text("utf-8")):
            path = ROOT / module.rstrip(".").replace(".", "/")
            file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
            source = file.read_text("utf-8") if file.exists() else ""
            names = re.findall(r"(?<!\S)(--[a-z][a-z-]*)", options)
            seen.update(names)
            wrong += [
                f"{page.name}: {module} {name}" for name in names if f'"{name}"' not in source
            ]
            if not source:
                wrong.append(f"{page.name}: there is no {module}")
    assert "--rows" in seen
    assert not wrong


def test_the_ray_configuration_has_known_keys() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    config = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    keys = {*config, *config["train"], *config["rollout"]} - {"train", "rollout", "gpus"}
    assert keys <= megatron_options()


def wrong_in_honcho(words: list[str]) -> list[str]:
    from honcho.command import parser

    given = parser.parse_args(words)
    files = [given.procfile, *given.env.split(",")]
    wrong = [name for name in files if not (ROOT / name).is_file() and name != "mine.env"]
    names = re.findall(r"^(\w+):", (ROOT / given.procfile).read_text("utf-8"), re.MULTILINE)
    return wrong + [name for name in given.processes if name not in names]


def wrong_in_rlkd(words: list[str]) -> list[str]:
    import click
    import typer

    from rlkd_plugin.rlkd_cli import app

    if words == ["--version"]:
        return []
    group = typer.main.get_command(app)
    command = group.commands.get(words[0]) if words else None
    if command is None:
        return [f"no command: {words[:1]}"]
    try:
        command.make_context(words[0], words[1:])
    except click.UsageError as error:
        return [error.message]
    return []


def test_every_command_has_an_example_with_its_output() -> None:
    """A section of docs/commands.md of its own, with the command typed in it."""
    import typer

    from rlkd_plugin.rlkd_cli import app

    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    commands = typer.main.get_command(app).commands
    assert set(commands) == sections.keys() - {"make"}
    for name in commands:
        assert re.search(rf"^\$ (\w+=\S+ )*rlkd {name}\b", sections[name], re.MULTILINE), name


def wrong_in_modelscope(words: list[str]) -> list[str]:
    from modelscope_hub.cli.main import _build_parser

    try:
        _build_parser().parse_args(words)
    except SystemExit:
        return [f"refused: {words}"]
    return []


def test_the_procfiles_serve_what_the_recipes_ask_for() -> None:
    """Names, ports, models and lengths agree; four trainers; nobody shares a trainer's device."""
    from honcho.environ import parse, parse_procfile

    for file in PROCFILES:
        device, number = re.fullmatch(r"Procfile\.([a-z]+?)(\d|_grpo)", file.name).groups()
        lines = parse_procfile(file.read_text("utf-8")).processes
        roles = ("rollout",) if number == "_grpo" else ("rollout", "gsrm", "judge")
        assert list(lines) == [*roles, "trainer"]
        variable = {"cuda": "CUDA_VISIBLE_DEVICES", "npu": "ASCEND_RT_VISIBLE_DEVICES"}[device]
        devices = {
            name: re.search(rf" {variable}=([\d,]+) ", line)[1].split(",")
            for name, line in lines.items()
        }
        assert len(devices["trainer"]) == 4
        servers = {device for name in roles for device in devices[name]}
        assert servers.isdisjoint(devices["trainer"])
        everything = sorted(servers | set(devices["trainer"]))
        assert everything == [str(n) for n in range(5 if number == "_grpo" else int(number))]
        shares: dict[str, float] = {}
        for name in roles:
            share = float(re.search(r"memory[_-]utilization (\S+?)\"?$", lines[name])[1])
            for each in devices[name]:
                shares[each] = shares.get(each, 0) + share
        assert max(shares.values()) <= 0.9
        assert ("VLLM_ASCEND_ENABLE_NZ=0" in lines["rollout"]) == (device == "npu")
        assert " rlkd guard --rollout swift rollout " in lines["rollout"]
        replicas = re.search(r" --vllm_data_parallel_size (\d+) ", lines["rollout"])
        assert len(devices["rollout"]) == (int(replicas[1]) if replicas else 1)
        assert all(len(devices[name]) == 1 for name in roles[1:])
        for env_file in sorted((ROOT / "swift_configs").glob("*.env")):
            env = parse(env_file.read_text("utf-8"))
            config = read(ROOT / "swift_configs" / f"{env['RECIPE']}_{device}.yaml")
            assert env_file.stem == env["RECIPE"]
            assert env["STUDENT"] == config["model"]
            assert int(env["CONTEXT"]) == config["max_length"] + config["max_completion_length"]
            assert f"--port {config['vllm_server_port']} " in lines["rollout"]
            assert f"--template {config['template']} " in lines["rollout"]
            for role in roles[1:]:
                if url := config["ENV"].get(f"RLKD_{role.upper()}_BASE_URL"):
                    port = url.removeprefix("http://127.0.0.1:").removesuffix("/v1")
                    assert f"--port {port} " in lines[role]
                    name = config["ENV"][f"RLKD_{role.upper()}_MODEL"]
                    assert f"--served-model-name {name} " in lines[role]


def test_the_calculated_tables_are_the_tools() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    assert memory_table.table() in text
    assert memory_table.server_table() in text
    assert idle_table.table(32) in text
    assert idle_table.table(128) in text


def test_the_idle_table_has_the_procfiles_placements() -> None:
    """Shares of memory, replicas, and who is together on a device, as in the Procfiles."""
    from honcho.environ import parse_procfile

    for placement in idle_table.PLACEMENTS[:4]:
        file = ROOT / "swift_configs" / f"Procfile.npu{placement.title}"
        lines = parse_procfile(file.read_text("utf-8")).processes
        assert f"--vllm_gpu_memory_utilization {placement.rollout}" in lines["rollout"]
        assert f"--gpu-memory-utilization {placement.gsrm}" in lines["gsrm"]
        replicas = re.search(r"--vllm_data_parallel_size (\d)", lines["rollout"])
        assert placement.replicas == (int(replicas[1]) if replicas else 1)
        gsrm, judge = (
            re.search(r"VISIBLE_DEVICES=(\d)", lines[role])[1] for role in ("gsrm", "judge")
        )
        assert placement.together == (gsrm == judge)


def test_a_simulated_server_by_hand() -> None:
    """Two requests of three and one tokens, together; and where only one has room at a time.

    Each token reads the weights and what is cached. The first pass computes the prompts and the
    first token of each.
    """
    weights = idle_table.BF16 * idle_table.MODEL.parameters
    device = idle_table.Device(read=float(weights), compute=float("inf"))
    cached = idle_table.MODEL.kv_bytes / weights  # seconds to read a token of the cache
    requests = [(10, 3), (20, 1)]
    together = 3 + (30 + 11 + 12) * cached
    assert idle_table.serve(requests, 100, device) == pytest.approx(together)
    after = 4 + (10 + 11 + 12 + 20) * cached
    assert idle_table.serve(requests, 21, device) == pytest.approx(after)
    assert idle_table.serve(requests, 100, device, split=2) == pytest.approx(together / 2)
    with pytest.raises(ValueError, match="21 tokens does not fit into 20"):
        idle_table.serve(requests, 20, device)
