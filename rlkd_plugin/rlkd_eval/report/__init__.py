"""`rlkd report`: runs, evaluations, scores and diversity as one page of HTML."""

from importlib.util import find_spec

from rlkd_plugin.gsrm import RlkdError

if missing := [name for name in ("plotly", "jinja2") if find_spec(name) is None]:
    raise RlkdError(
        f"a report needs the package {' and '.join(missing)} (pip install 'rlkd_plugin[eval]')"
    )
