"""Checks the layers of the package: who imports what, and which names it puts on `sys.path`."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "rlkd_plugin"
STANDARD = set(sys.stdlib_module_names)
FIRST_LEVEL = {
    *("__init__", "register", "gsrm", "engines", "llm_io", "swift_hooks"),
    *("rlkd_data", "rlkd_eval", "rlkd_cli", "rlkd_guard", "rlkd_files"),
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def in_layer(layer: str) -> list[Path]:
    found = [file for file in FILES if file.relative_to(PACKAGE).parts[0] == layer]
    assert found, f"there is no layer {layer}"
    return found


def outside(*names: str) -> list[Path]:
    """The files that stand in none of the named layers and first-level modules."""
    return [file for file in FILES if file.relative_to(PACKAGE).parts[0] not in names]


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imports(file: Path) -> set[str]:
    """The modules that a file imports, anywhere in it, with their full names."""
    found: set[str] = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(file)} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def foreign(file: Path, *own: str) -> set[str]:
    """The imports of a file that are neither of the standard library nor of the given layers."""
    layers = tuple(f"rlkd_plugin.{name}" for name in own)
    return {
        name
        for name in imports(file)
        if name.partition(".")[0] not in STANDARD
        and not any(f"{name}.".startswith(f"{layer}.") for layer in layers)
    }


def top_level(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)}


@pytest.mark.parametrize("file", in_layer("gsrm"), ids=name_of)
def test_gsrm_imports_the_standard_library_and_itself(file: Path) -> None:
    assert foreign(file, "gsrm") == set()


@pytest.mark.parametrize("file", in_layer("engines"), ids=name_of)
def test_engines_import_the_standard_library_and_gsrm(file: Path) -> None:
    assert foreign(file, "gsrm", "engines") == set()


@pytest.mark.parametrize("file", in_layer("llm_io"), ids=name_of)
def test_llm_io_imports_nothing_above_it(file: Path) -> None:
    ours = {name for name in imports(file) if name.startswith("rlkd_plugin.")}
    assert {name.split(".")[1] for name in ours} <= {"gsrm", "rlkd_files", "engines", "llm_io"}


@pytest.mark.parametrize("file", outside("swift_hooks", "register.py"), ids=name_of)
def test_only_the_hooks_import_swift_or_torch(file: Path) -> None:
    assert top_level(file) & {"swift", "torch"} == set()


@pytest.mark.parametrize("file", outside("llm_io"), ids=name_of)
def test_only_llm_io_opens_sockets(file: Path) -> None:
    assert top_level(file) & {"aiohttp", "httpx", "requests", "openai", "socket"} == set()


@pytest.mark.parametrize("file", outside("rlkd_cli"), ids=name_of)
def test_only_the_command_prints(file: Path) -> None:
    calls = [node.func for node in ast.walk(tree(file)) if isinstance(node, ast.Call)]
    assert "print" not in {call.id for call in calls if isinstance(call, ast.Name)}


def texts_in(module: ast.Module) -> Iterator[str]:
    """The texts of a module that are values, not docstrings or comments."""
    docstrings = {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_device_is_named(file: Path) -> None:
    # the same code runs on GPU and NPU; ms-swift knows the device
    module = tree(file)
    assert not [text for text in texts_in(module) if "cuda" in text.lower()]
    attributes = {node.attr for node in ast.walk(module) if isinstance(node, ast.Attribute)}
    assert "cuda" not in attributes


def first_level() -> set[str]:
    """What `import NAME` finds in the package's folder: modules, and folders of any content."""
    return {
        path.stem
        for path in PACKAGE.iterdir()
        if path.name != "__pycache__" and (path.is_dir() or path.suffix == ".py")
    }


def test_first_level_names_are_known() -> None:
    assert first_level() - FIRST_LEVEL == set()


def test_layers_are_there() -> None:
    assert {"__init__", "register", "gsrm", "engines", "llm_io", "swift_hooks"} <= first_level()


def run_isolated(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter that sees the environment, not this project's folders."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_first_level_names_shadow_no_module() -> None:
    # ms-swift puts rlkd_plugin/ first on sys.path; an editable install may put the project there
    code = (
        "import importlib.util, json, pathlib, sys\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "def elsewhere(name):\n"
        "    spec = importlib.util.find_spec(name)\n"
        "    if spec is None: return False\n"
        "    places = list(spec.submodule_search_locations or [spec.origin])\n"
        "    return any(root not in pathlib.Path(place).parents for place in places)\n"
        "print(json.dumps([n for n in sys.argv[2:] if elsewhere(n)]))"
    )
    # json stands for the modules that the check has to find
    found = run_isolated(code, str(ROOT), "json", *sorted(FIRST_LEVEL | first_level()))
    assert json.loads(found) == ["json"]


def test_the_paper_needs_the_standard_library_alone() -> None:
    code = (
        "import json, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "before = set(sys.modules)\n"
        "import rlkd_plugin.gsrm\n"
        "print(json.dumps(sorted({n.partition('.')[0] for n in set(sys.modules) - before})))"
    )
    loaded = set(json.loads(run_isolated(code, str(ROOT))))
    assert "rlkd_plugin" in loaded
    assert loaded & {"torch", "swift", "aiohttp", "pydantic"} == set()
    assert loaded - STANDARD == {"rlkd_plugin"}
