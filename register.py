"""`swift ... --external_plugins register.py`: registers the plugin with ms-swift.

Does the same as `rlkd_plugin/register.py`; ms-swift puts this file's folder on `sys.path`.
"""

from rlkd_plugin.swift_hooks.registry import register_all

register_all()
