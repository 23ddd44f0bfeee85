"""What is published works: wheel and sdist are built, and the wheel is installed and used.

The wheel goes into an environment of its own. ms-swift and all else come from the one of the tests
by a line in a `.pth` file, which runs no `.pth` file there: the editable install is not seen.
"""

import ast
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email import message_from_string
from email.message import Message
from importlib.metadata import packages_distributions
from pathlib import Path
from shutil import copytree, ignore_patterns
from sysconfig import get_path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rlkd_plugin import __version__
from rlkd_plugin.llm_io.ports import free_port
from tools.stand_ins.places import ROOT
from tools.stand_ins.recipes import CONFIGS
from tools.stand_ins.tiny_model import tiny_model

CARRIED = "rlkd_plugin/rlkd_cli/swift_configs"
NO_SOURCE = ignore_patterns(".*", "models", "output", "build", "dist", "*.egg-info", "__pycache__")
PIP = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")

Run = Callable[..., str]


def build(source: Path, out: Path, *what: str) -> Path:
    """Build with the setuptools of this environment, as an index may be out of reach."""
    command = [sys.executable, "-m", "build", "--no-isolation", *what, "--outdir", str(out)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    copytree(ROOT, folder / "source", ignore=NO_SOURCE)
    return build(folder / "source", folder / "dist")


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    options = ["--no-deps", "--no-index", "--no-compile"]
    install = [*PIP, "--python", str(python), "install", *options, str(wheel)]
    subprocess.run(install, check=True, timeout=120)
    site = get_path("purelib", vars={"base": str(folder)})
    Path(site, "zz_host.pth").write_text(f"{get_path('purelib')}\n")
    return python.parent


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Return a function that runs a program of that environment, from an empty folder."""

    def run_there(program: str, *words: str, folder: Path = tmp_path, **env: str) -> str:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("RLKD_", "PYTHON"))}
        path = f"{installed}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [installed / program, *words],
            cwd=folder,
            env={**clean, "PATH": path, "MASTER_PORT": str(free_port()), **env},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run_there


def contents(wheel: Path) -> dict[str, int]:
    """Return the checksum of each file that a wheel installs; how it was packed does not count."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            each.filename: each.CRC
            for each in archive.infolist()
            if ".dist-info/" not in each.filename
        }


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def test_the_wheel_has_every_file_of_the_package_and_the_recipes(built: Path, wheel: Path) -> None:
    source = built.parent / "source"
    package = (file for file in (source / "rlkd_plugin").rglob("*") if file.is_file())
    expected = {file.relative_to(source).as_posix() for file in package}
    expected |= {f"{CARRIED}/{file.name}" for file in (source / "swift_configs").iterdir()}
    assert contents(wheel).keys() == expected
    assert "rlkd_plugin/py.typed" in expected
    assert wheel.stat().st_size < 10.5e6  # two adapters are 9.2 of it


def test_the_sdist_builds_the_same_wheel(built: Path, wheel: Path, tmp_path: Path) -> None:
    """As the source does; it has no tests, which need a model and tools beside them."""
    direct = build(built.parent / "source", tmp_path, "--wheel")
    assert contents(next(direct.glob("*.whl"))) == contents(wheel)
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {Path(*Path(name).parts[1:]).as_posix() for name in sdist.getnames()}
    assert {"LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "docs/recipes.md"} < names
    assert not {name for name in names if name.startswith(("tests", "benchmarks", "examples"))}


def test_every_import_is_declared(wheel: Path) -> None:
    """But for torch: which build is right depends on the device (setup.py)."""
    declared = {
        canonicalize_name(Requirement(text).name)
        for text in metadata(wheel).get_all("Requires-Dist", [])
        if "dev" not in str(Requirement(text).marker)
    }
    distributions = packages_distributions()
    missing = set()
    for file in (ROOT / "rlkd_plugin").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            for name in {str(module).partition(".")[0] for module in modules}:
                owners = {canonicalize_name(each) for each in distributions.get(name, [name])}
                if name not in sys.stdlib_module_names and not owners & declared:
                    missing.add(name)
    assert missing == {"torch", "rlkd_plugin"}


def test_the_metadata_says_what_it_is(wheel: Path) -> None:
    said = metadata(wheel)
    assert said["Version"] == __version__
    assert said["License-Expression"] == "Apache-2.0"
    assert "ms-swift<4.7,>=4.6.0" in said.get_all("Requires-Dist", [])
    assert "Typing :: Typed" in said.get_all("Classifier", [])
    assert said["Author"]
    assert said["Keywords"]


def test_the_command_works_from_an_empty_folder(run: Run, installed: Path) -> None:
    """The module that runs is the wheel's, not this clone's."""
    plugin = Path(run("rlkd", "path").strip())
    assert plugin.is_relative_to(installed.parent)
    assert plugin.is_file()
    shown = run("python", "-c", "import rlkd_plugin; print(rlkd_plugin.__file__)")
    assert Path(shown.strip()).parent == plugin.parent
    assert run("rlkd", "--version") == f"rlkd_plugin {__version__}\n"
    assert run("rlkd", "check", RLKD_ENGINE="rules").startswith("ok ")
    listed = run("rlkd", "recipes").splitlines()
    assert [line.partition(" ")[0] for line in listed[: len(CONFIGS)]] == [
        file.stem for file in CONFIGS
    ]


ARGUMENTS = """
import json, sys
from swift.arguments import RLHFArguments
from swift.cli.main import parse_yaml_args
from swift.rewards import orms
from swift.utils import parse_args

RLHFArguments._init_external_vllm = lambda self: None  # it would connect to the rollout server
words = sys.argv[1:]
parse_yaml_args(words)
args, unknown = parse_args(RLHFArguments, words)
reward = sys.modules[orms["rlkd_gsrm"].__module__]
print(json.dumps([unknown, args.external_plugins, args.reward_funcs, reward.__file__]))
"""


def test_a_copied_recipe_starts_with_the_installed_plugin(
    run: Run, installed: Path, tmp_path: Path
) -> None:
    """ms-swift takes the YAML from the copy's folder, and the reward is the wheel's."""
    model = tiny_model(tmp_path / "DeepSeek-R1-Distill-Qwen-7B")
    folder = tmp_path / "new" / "recipe"
    said = run("rlkd", "recipes", "rlkd_cuda", str(folder))
    assert said.endswith("    GSRM=YOUR_GSRM honcho -e rlkd.env -f Procfile.cuda7 start\n")
    options = ["--model", str(model), "--use_cpu", "true", "--output_dir", str(tmp_path / "out")]
    shown = run("python", "-c", ARGUMENTS, "rlkd_cuda.yaml", *options, folder=folder)
    unknown, plugins, rewards, reward = json.loads(shown.splitlines()[-1])
    assert unknown == []
    assert plugins == [run("rlkd", "path").strip()]
    assert rewards == ["accuracy", "format", "rlkd_tag_count", "rlkd_gsrm"]
    assert Path(reward).is_relative_to(installed.parent)
