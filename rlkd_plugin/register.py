"""`swift ... --external_plugins rlkd_plugin/register.py`: registers the plugin with ms-swift.

Works whether the package is installed or only cloned.
"""

import importlib.util
import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parent.parent)

if importlib.util.find_spec("rlkd_plugin") is None:
    sys.path.append(_ROOT)  # at the end, so that no file in that folder shadows a package

from rlkd_plugin.swift_hooks.registry import register_all  # noqa: E402  needs the path above

register_all()
