"""Every YAML goes through ms-swift's own reading of it, as `swift sft x.yaml` does.

`problems` is the whole of what is checked; the mutations at the end show that it finds something.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
import yaml

from tools.stand_ins.places import ROOT
from tools.stand_ins.recipes import CONFIGS, Config, read
from tools.stand_ins.tiny_model import tiny_model

RL = {
    # section 4.1
    "num_generations": 4,
    "temperature": 0.7,
    "deepspeed": "zero3",
    "num_train_epochs": 1,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    # the reference recipe
    "max_length": 1024,
    "torch_dtype": "bfloat16",
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_ratio": 0.1,
    "max_grad_norm": 0.2,
    "save_steps": 10,
    "seed": 42,
    "beta": 0.04,
    "weight_decay": 0.0,
    "adam_beta2": 0.999,
    "gradient_checkpointing": True,
    "template": "rlkd_r1",
    "vllm_mode": "server",
    "use_vllm": True,
    "loss_type": "grpo",
    # ours
    "learning_rate": 1e-6,
    "tuner_type": "full",
    "data_seed": 42,
    "top_p": 1.0,
    "vllm_server_port": 8000,
    "vllm_server_group_port": 51216,
    "vllm_server_timeout": 1800,
    "log_rollout_offpolicy_metrics": True,
    "truncation_strategy": "delete",
    "external_plugins": "rlkd_plugin/register.py",
    "callbacks": ["rlkd_metrics", "rlkd_snapshots"],
}
STRUCTURE = {
    "reward_funcs": ["accuracy", "format", "rlkd_tag_count", "rlkd_gsrm"],
    "reward_weights": [15, 10, 10, 15],
    "ENV.RLKD_REWARD_SCALE": "steps",
    "ENV.RLKD_GSRM_BASE_URL": "http://127.0.0.1:8001/v1",
    "ENV.RLKD_JUDGE_BASE_URL": "http://127.0.0.1:8002/v1",
    "ENV.RLKD_STARTUP_PATIENCE": 1800,
}
SNAPSHOTS = {"ENV.RLKD_SNAPSHOT_STEPS": "20,40,60,80,100"}
"""Steps of figures 4 and 5."""
R1, MATH = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "Qwen/Qwen2.5-Math-7B"
TEACHER = {
    "teacher_model": "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B",
    "teacher_kl_coef": 1.0,
    "offload_teacher_model": True,
}
"""ms-swift's own distillation, with its default coefficient."""
SFT = {
    "model": MATH,
    "template": "rlkd_r1",
    "num_train_epochs": 1,
    "max_length": 8192,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8,
    "deepspeed": "zero3",
    "learning_rate": 5e-5,
    "lr_scheduler_type": "linear",
    "warmup_ratio": 0.1,
    "weight_decay": 1e-4,
    "truncation_strategy": "right",
    "data_seed": 42,
    "save_steps": 10,
    "callbacks": "rlkd_snapshots",
}
OPENR1, SHIFTED = "rlkd/openr1-math#3200", "rlkd/jsonl:shifted.jsonl"
NUMBERS: dict[str, Config] = {
    "rlkd": {
        **RL,
        **STRUCTURE,
        **SNAPSHOTS,
        "model": R1,
        "max_completion_length": 4096,
        "dataset": OPENR1,
    },
    "rlkd_kl": {
        **RL,
        **STRUCTURE,
        **TEACHER,
        "model": R1,
        "max_completion_length": 4096,
        "dataset": OPENR1,
    },
    "rlkd_zero": {
        **RL,
        **STRUCTURE,
        "model": MATH,
        "max_completion_length": 3072,
        "dataset": OPENR1,
    },
    "shift_rlkd": {
        **RL,
        **STRUCTURE,
        **SNAPSHOTS,
        "gradient_accumulation_steps": 16,  # figure 4: 32 prompts a step
        "model": MATH,
        "max_completion_length": 3072,
        "dataset": SHIFTED,
    },
    "grpo": {
        **RL,
        "model": R1,
        "max_completion_length": 4096,
        "dataset": OPENR1,
        "reward_funcs": ["accuracy", "format", "rlkd_tag_count"],
        "reward_weights": [15, 10, 10],
    },
    "sft_distill": {**SFT, "dataset": "rlkd/openr1-math-sft#3200"},
    "shift_sft": {**SFT, **SNAPSHOTS, "dataset": "rlkd/jsonl-sft:shifted.jsonl"},
    "ppo_reward": {
        "rlhf_type": "rm",
        "model": R1,
        "dataset": "rlkd/openr1-math-pairs#3200",
        "deepspeed": "zero3",
        "num_train_epochs": 1,
        "learning_rate": 1e-5,
        "data_seed": 42,
        "output_dir": "output/ppo_reward",
        "add_version": False,
    },
    "ppo": {
        "rlhf_type": "ppo",
        "model": R1,
        "dataset": OPENR1,
        "temperature": 0.7,
        "reward_model": "output/ppo_reward/checkpoint-100",
        "deepspeed": "zero3_offload",
        "learning_rate": 1e-6,
        "max_completion_length": 2048,
        "kl_coef": 0.05,
        "gradient_accumulation_steps": 2,
        "num_ppo_epochs": 4,
        "data_seed": 42,
    },
    "gsrm_sft": {  # section 3.1, and the reference's recipe
        "ENV.RLKD_PHASES": "meta,solve,mixed",
        "ENV.RLKD_PHASE_INTERVAL": 100,
        "model": "Qwen/Qwen2.5-7B-Instruct",
        "num_train_epochs": 3,
        "max_length": 25000,
        "learning_rate": 5e-5,
        "lr_scheduler_type": "linear",
        "warmup_ratio": 0.1,
        "weight_decay": 1e-4,
        "per_device_train_batch_size": 1,
        "deepspeed": "zero3",
        "gradient_accumulation_steps": 1,  # the reference: 2, on two devices
        "loss_type": "rlkd_structured",
        "loss_scale": "rlkd_structured",
        "callbacks": "rlkd_structured",
    },
}
"""What the paper, the reference and we say, by recipe; `ENV.NAME` stands in the ENV block."""

DEVICE = {
    "cuda": {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"},
    "npu": {"PYTORCH_NPU_ALLOC_CONF": "expandable_segments:True", "HCCL_CONNECT_TIMEOUT": 3600},
}
DEVICE_RL = {"cuda": {}, "npu": {"HCCL_EXEC_TIMEOUT": 7200}}
"""All that a device adds to a recipe, and to one that waits for servers."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random models under the names of the hub's, by which ms-swift knows type and template."""
    folder = tmp_path_factory.mktemp("models")
    tiny = tiny_model(folder / "tiny")
    for name in (R1, MATH, "Qwen/Qwen2.5-7B-Instruct"):
        (folder / Path(name).name).symlink_to(tiny)
    return folder


@pytest.fixture
def problems(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Config], list[str]]:
    """Return a function that says what is wrong with a recipe of this name."""
    from swift.arguments import RLHFArguments

    monkeypatch.chdir(ROOT)
    # it would connect to the rollout server; everything else of the arguments is real
    monkeypatch.setattr(RLHFArguments, "_init_external_vllm", lambda self: None)

    def found(name: str, config: Config) -> list[str]:
        if dist.is_initialized():  # by DeepSpeed's part of the arguments, of the one before
            dist.destroy_process_group()
        for variable, value in config.get("ENV", {}).items():
            monkeypatch.setenv(variable, str(value))  # ms-swift sets them; set back here
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
        overrides = ["--output_dir", str(tmp_path / "out"), "--use_cpu", "true"]
        if not (ROOT / config["model"]).is_dir():
            overrides += ["--model", str(models / Path(config["model"]).name)]
        try:
            args, unknown = _arguments(file, *overrides)
        except (SystemExit, Exception) as error:
            return [f"ms-swift refuses it: {error!r}"]
        wrong = [f"unknown: {word}" for word in unknown]
        wrong += [
            *_not_taken(config, args),
            *_unregistered(config),
            *_not_as_published(name, config),
        ]
        return wrong + _wrong_settings(config)

    return found


def _arguments(file: Path, *overrides: str) -> tuple[Any, list[str]]:
    """ms-swift's arguments for a file, and what it did not know of it."""
    from swift.arguments import RLHFArguments, SftArguments
    from swift.cli.main import parse_yaml_args
    from swift.utils import parse_args

    is_rlhf = "rlhf_type" in read(file)
    words = [str(file)]
    parse_yaml_args(words)
    return parse_args(RLHFArguments if is_rlhf else SftArguments, [*words, *overrides])


CHANGED = ("model", "model_type", "output_dir", "use_cpu", "dataset", "deepspeed", "torch_dtype")
"""Keys that the test overrides, or that ms-swift resolves to something else."""


def _not_taken(config: Config, args: Any) -> list[str]:
    """Return the keys whose values are not what ms-swift has then."""
    wrong = []
    for name, value in config.items():
        if name in ("ENV", *CHANGED):
            continue
        taken = getattr(args, name)
        if isinstance(taken, list) and not isinstance(value, list):
            value = [value]
        if isinstance(value, dict):
            taken = json.loads(taken)
        if name == "external_plugins":
            taken = [str(Path(file)) for file in taken]
        if name == "adapters":  # ms-swift makes the paths absolute
            taken = [str(Path(folder).relative_to(ROOT)) for folder in taken]
        if taken != value:
            wrong.append(f"{name}: {taken!r}, not {value!r}")
    return wrong


def _unregistered(config: Config) -> list[str]:
    """Return the names that nobody has registered."""
    from swift.callbacks import callbacks_map
    from swift.dataset import DATASET_MAPPING
    from swift.loss import loss_map
    from swift.loss_scale import loss_scale_map
    from swift.rewards import orms
    from swift.template import TEMPLATE_MAPPING

    registered: dict[str, Any] = {
        "reward_funcs": orms,
        "callbacks": callbacks_map,
        "loss_scale": loss_scale_map,
        "template": TEMPLATE_MAPPING,
        "reward_template": TEMPLATE_MAPPING,
        "dataset": DATASET_MAPPING,
    }
    if "rlhf_type" not in config:
        registered["loss_type"] = loss_map  # GRPO's is another option
    wrong = []
    for key, names in registered.items():
        given = config.get(key, [])
        for name in given if isinstance(given, list) else [given]:
            if re.split("[:#]", name)[0] not in names:
                wrong.append(f"{key}: {name} is not registered")
    return wrong


def _wrong_settings(config: Config) -> list[str]:
    """Return the RLKD_ variables that nothing reads, and what is wrong with the others."""
    from rlkd_plugin.gsrm import RlkdError
    from rlkd_plugin.llm_io.settings import load_settings, unknown_variables

    mine = [name for name in unknown_variables() if name in config.get("ENV", {})]
    try:
        load_settings()
    except RlkdError as error:
        mine.append(str(error))
    return mine


def _not_as_published(name: str, config: Config) -> list[str]:
    recipe, _, device = name.rpartition("_")
    if device not in DEVICE:
        recipe, device = name, ""
    env = config.get("ENV", {})
    wrong = []
    for key, value in NUMBERS.get(recipe, {}).items():
        there = env.get(key[4:]) if key.startswith("ENV.") else config.get(key)
        if there != value or type(there) is not type(value):
            wrong.append(f"{key}: {there!r}, not {value!r}")
    if device:
        waits = DEVICE_RL[device] if config.get("use_vllm") else {}
        theirs = {k: v for k, v in env.items() if not k.startswith("RLKD_")}
        if theirs != DEVICE[device] | waits:
            wrong.append(f"ENV: {theirs}")
    return wrong


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_config_is_what_ms_swift_takes(
    file: Path, problems: Callable[[str, Config], list[str]]
) -> None:
    """No unknown key, wrong type or unregistered name, and every number as published."""
    assert problems(file.stem, read(file)) == []


def test_every_recipe_has_its_numbers_here() -> None:
    """A new YAML has to be added; the two of the demo machine have none to keep."""
    stems = {re.sub("_(cuda|npu)$", "", file.stem) for file in CONFIGS}
    assert stems == NUMBERS.keys() | {"demo_grpo_cpu", "gsrm_sft_cpu"}


PAIRS = sorted({file.stem.removesuffix("_npu") for file in CONFIGS if file.stem.endswith("_npu")})


@pytest.mark.parametrize("recipe", PAIRS)
def test_a_device_changes_only_what_it_forces(recipe: str) -> None:
    """Everything but the environment is the same, and so are all settings of ours in it."""
    one, other = (read(ROOT / "swift_configs" / f"{recipe}_{name}.yaml") for name in DEVICE)
    waits = bool(one.get("use_vllm"))
    for name, config in (("cuda", one), ("npu", other)):
        env = config.pop("ENV")
        expected = DEVICE[name] | (DEVICE_RL[name] if waits else {})
        forced = {key: env.pop(key) for key in expected}
        print(f"{recipe}_{name}: {forced}")
        assert forced == expected
        config["ENV"] = env
    assert one == other
    assert list(one) == list(other)


@pytest.mark.parametrize("device", DEVICE)
def test_the_teachers_recipe_is_rlkd_with_a_teacher(device: str) -> None:
    """So that the two compare; it is no run of the paper's figures, for which snapshots are."""
    folder = ROOT / "swift_configs"
    plain, taught = (read(folder / f"{name}_{device}.yaml") for name in ("rlkd", "rlkd_kl"))
    assert {name: taught.pop(name) for name in TEACHER} == TEACHER
    assert (plain.pop("output_dir"), taught.pop("output_dir")) == ("output/rlkd", "output/rlkd_kl")
    del plain["ENV"]["RLKD_SNAPSHOT_STEPS"]
    assert taught == plain


GDPO = re.compile(r"^# (scale_rewards: gdpo) ", re.MULTILINE)


@pytest.mark.parametrize("device", DEVICE)
def test_the_rl_recipes_show_gdpo(
    device: str, problems: Callable[[str, Config], list[str]]
) -> None:
    """As a comment in each, and ms-swift takes it where it is none."""
    folder = ROOT / "swift_configs"
    with_it = {file.stem for file in CONFIGS if GDPO.search(file.read_text("utf-8"))}
    rl = {file.stem for file in CONFIGS if read(file).get("rlhf_type") == "grpo"}
    assert with_it == rl - {"demo_grpo_cpu"}
    for name in (f"rlkd_{device}", f"rlkd_kl_{device}"):
        text = (folder / f"{name}.yaml").read_text("utf-8")
        config = yaml.safe_load(GDPO.sub(r"\1 # ", text))
        assert config["scale_rewards"] == "gdpo"
        assert problems(name, config) == []


def test_the_gsrm_recipe_warms_up_over_a_tenth(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    file = ROOT / "swift_configs" / "gsrm_sft.yaml"
    for name, value in read(file)["ENV"].items():
        monkeypatch.setenv(name, str(value))
    there = ["--output_dir", str(tmp_path / "out"), "--use_cpu", "true"]
    args, _ = _arguments(file, "--model", str(models / "Qwen2.5-7B-Instruct"), *there)
    assert args.training_args.get_warmup_steps(300) == 30
    assert args.deepspeed["zero_optimization"]["stage"] == 3


SERVES = re.compile(r"vllm serve(?: |[\"\', ]+)(?=\S)(.*)")
FOLDERS = "rlkd_plugin", "swift_configs", "docs", "examples", "tests", "tools", "benchmarks", ".ci"
COMMANDS = re.compile(r"\.(py|md|yaml|yml|env|sh|txt|toml|jinja|html)$|^(Makefile|Procfile.*|run)$")
NEUTRAL = re.compile(r"--generation-config (vllm|serving)\b")
"""`serving` is a folder of `rlkd chat-template`: its file has the ends of a reply alone."""
MEANT = re.compile(r"^[$\w{./-]*(?:[A-Z_]{4}|/)|^model,")
"""A model behind `vllm serve`: a variable, a place or a repository; elsewhere it is prose."""


def serve_commands(text: str) -> list[str]:
    """Return what stands behind each `vllm serve` that is a command with a model."""
    lines = text.replace("\\\n", " ").splitlines()
    return [found[1] for line in lines if (found := SERVES.search(line)) and MEANT.search(found[1])]


def project_files() -> list[Path]:
    """Return the files that may hold a command."""
    places = [*ROOT.iterdir(), *(file for name in FOLDERS for file in (ROOT / name).rglob("*"))]
    return [file for file in places if COMMANDS.search(file.name) and file.is_file()]


def test_every_vllm_server_leaves_the_models_generation_config_alone() -> None:
    """Else a checkpoint's own repetition_penalty, top_p and top_k act where a request says none."""
    commands = [
        (file.name, command)
        for file in project_files()
        if file != Path(__file__)
        for command in serve_commands(file.read_text("utf-8"))
    ]
    places = {name for name, _ in commands}
    assert {"README.md", "recipes.md", "Procfile.cuda5", "Procfile.npu7"} <= places
    assert len(commands) >= 20
    wrong = [c for c in commands if not NEUTRAL.search(c[1])]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("    vllm serve YOUR_GSRM --port 1", 1),
        ("gsrm: exec vllm serve ${GSRM:?x} --served-model-name gsrm", 1),
        ("vllm serve $JUDGE \\\n  --port 1", 1),
        ("vllm serve Qwen/Qwen3-8B", 1),
        ("vllm serve ./checkpoint-10", 1),
        ("`vllm serve` takes the tokenizer's chat template.", 0),
        ("the options of `vllm serve`, from", 0),
    ],
)
def test_a_server_of_any_form_is_found(text: str, found: int) -> None:
    assert len(serve_commands(text)) == found


MUTATIONS: list[tuple[str, str, str, Any]] = [
    ("rlkd_npu", "unknown key", "num_generation", 4),
    ("rlkd_zero_cuda", "wrong type", "learning_rate", "small"),
    ("grpo_cuda", "unregistered reward", "reward_funcs", ["accuracy", "format", "rlkd_tags"]),
    ("rlkd_cuda", "unregistered callback", "callbacks", ["rlkd_metrics", "rlkd_snapshot"]),
    ("shift_sft_cuda", "no steps", "ENV.RLKD_SNAPSHOT_STEPS", "every 20"),
    ("shift_rlkd_npu", "unregistered data set", "dataset", "rlkd/json:shifted.jsonl"),
    ("sft_distill_npu", "unregistered template", "template", "rlkd-r1"),
    ("ppo_cuda", "missing file", "external_plugins", "rlkd_plugin/registers.py"),
    ("ppo_reward_npu", "no such ZeRO", "deepspeed", "zero4"),
    ("rlkd_npu", "a weight", "reward_weights", [15, 10, 10, 1.5]),
    ("rlkd_cuda", "too few weights", "reward_weights", [15, 10, 10]),
    ("rlkd_zero_npu", "beyond the model's context", "max_completion_length", 4096),
    ("rlkd_cuda", "the reference's rate", "learning_rate", 5e-5),
    ("shift_sft_npu", "other rows", "data_seed", 43),
    ("rlkd_npu", "a setting nobody reads", "ENV.RLKD_STARTUP_PATIENS", 1800),
    ("rlkd_npu", "no such scale", "ENV.RLKD_REWARD_SCALE", "step"),
    ("rlkd_npu", "another device's variable", "ENV.PYTORCH_CUDA_ALLOC_CONF", "x"),
    ("rlkd_kl_cuda", "another coefficient", "teacher_kl_coef", 10.0),
    ("rlkd_kl_npu", "two teachers", "teacher_model_server", "http://127.0.0.1:8003"),
    ("rlkd_kl_npu", "a loss that has no teacher", "loss_type", "real"),
    ("gsrm_sft", "two epochs", "num_train_epochs", 2),
    ("demo_grpo_cpu", "no such template", "template", "chatmll"),
]


@pytest.mark.parametrize(
    "mutation", MUTATIONS, ids=lambda mutation: f"{mutation[0]}, {mutation[1]}"
)
def test_a_mutation_is_found(
    mutation: tuple[str, str, str, Any], problems: Callable[[str, Config], list[str]]
) -> None:
    name, _, key, value = mutation
    config = read(ROOT / "swift_configs" / f"{name}.yaml")
    if key.startswith("ENV."):
        config["ENV"][key[4:]] = value
    else:
        config[key] = value
    found = problems(name, config)
    print(found)
    assert found
