"""What the import contracts of pyproject.toml do not say: names on `sys.path`, and devices."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.each import check_each

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "rlkd_plugin"
STANDARD = set(sys.stdlib_module_names)
FIRST_LEVEL = {
    "__init__",
    "register",
    "gsrm",
    "engines",
    "llm_io",
    "swift_hooks",
    "rlkd_data",
    "rlkd_eval",
    "rlkd_cli",
    "rlkd_guard",
    "rlkd_files",
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


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


def test_no_device_is_named() -> None:
    """The same code runs on GPU and NPU; ms-swift knows the device."""

    def check(file: Path) -> None:
        module = tree(file)
        assert not [text for text in texts_in(module) if "cuda" in text.lower()]
        attributes = {node.attr for node in ast.walk(module) if isinstance(node, ast.Attribute)}
        assert "cuda" not in attributes

    check_each({str(file.relative_to(PACKAGE)): file for file in FILES}, check)


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
