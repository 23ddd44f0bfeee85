"""Conversations as requests hold them, with all that a chat template could get wrong."""

Message = dict[str, str]

SYSTEM = {"role": "system", "content": "Be brief: {{QUERY}} isn't 'it', \\n."}
ASKED = {"role": "user", "content": "1 + 1?"}
SAID = {"role": "assistant", "content": "<think>\n1 + 1\n</think>\n<answer>\n2\n</answer>"}
SIGNS = (
    "  \n\"\\frac{1}{2}\" '@end@' {{ x }} {% y %} {# z #} <|im_end|> <｜User｜> é 数 "
    "\U0001f600\t\n\n"
)
CONVERSATIONS: dict[str, list[Message]] = {
    "the default system": [ASKED],
    "a system of its own": [SYSTEM, ASKED],
    "no system": [{"role": "system", "content": ""}, ASKED],
    "several turns": [SYSTEM, ASKED, SAID, ASKED, SAID, ASKED],
    "two users": [ASKED, {"role": "user", "content": " and 2?"}, SAID, ASKED],
    "to go on with": [ASKED, SAID],
    "signs": [{"role": "user", "content": SIGNS}],
}
