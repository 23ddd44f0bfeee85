"""`rlkd guard`, without the command `rlkd`.

python -m rlkd_plugin.rlkd_guard [--server | --rollout] COMMAND
"""

import sys

from rlkd_plugin.rlkd_guard import guard

words = sys.argv[1:]
option = words.pop(0) if words[:1] in (["--server"], ["--rollout"]) else ""
sys.exit(guard(words, server=bool(option), rollout=option == "--rollout"))
