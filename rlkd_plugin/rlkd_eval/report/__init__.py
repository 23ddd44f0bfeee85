"""`rlkd report`: what runs, evaluations and diversity files hold, as one page of HTML."""

from importlib.util import find_spec

from rlkd_plugin.gsrm import RlkdError

if find_spec("plotly") is None:
    raise RlkdError("a report needs the package plotly (pip install 'rlkd_plugin[eval]')")
