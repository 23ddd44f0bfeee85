"""Writes the options of `vllm serve`, from vLLM's own parser, for the tests of our commands.

    VENV_WITH_VLLM/bin/python tools/vllm_options.py tests/fixtures/vllm_options.json

The tests read the file, because vLLM needs an environment of its own.
"""
# vLLM is not installed beside pyright:
# pyright: reportMissingImports=false

import json
import sys
from pathlib import Path


def main() -> None:
    """Write the names, each with whether it takes a value."""
    import vllm
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    options = {
        name: action.nargs != 0
        for action in parser._actions
        for name in action.option_strings
        if name.startswith("--")
    }
    written = {"vllm": vllm.__version__, "takes_value": dict(sorted(options.items()))}
    Path(sys.argv[1]).write_text(json.dumps(written, indent=0) + "\n")


if __name__ == "__main__":
    main()
