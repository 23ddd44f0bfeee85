"""Writes a dialogue as a Jinja chat template for `vllm serve --chat-template`.

A request through it has the token ids that ms-swift's `rlkd_r1` trains with. One exception is a
conversation of several turns in plain lines, without control tokens. Its text is the same, but a
token at the border of a turn may differ, as ms-swift tokenizes each reply separately.
"""

import re

from rlkd_plugin.gsrm.prompts import R1_SYSTEM
from rlkd_plugin.llm_io.dialogues import QUERY, SYSTEM, Dialogue

_PLACE = re.compile("@(\\w+)@")
# As ms-swift's `Template._swift_encode`: consecutive messages of one role are one turn, and an
# unended reply is to be continued
_CONVERSATION = """\
{%- set system, turns = @default@, messages -%}
{%- if messages and messages[0]['role'] == 'system' -%}
{%- set system, turns = messages[0]['content'], messages[1:] -%}
{%- endif -%}
{{- @bos@ -}}
{%- if system -%}{{- @before_system@ + system + @after_system@ -}}
{%- else -%}{{- @no_system@ -}}{%- endif -%}
{%- if not turns or turns[0]['role'] != 'user' -%}
{{- raise_exception('a conversation begins with what the user says') -}}
{%- endif -%}
{%- for turn in turns -%}
{%- set is_first = loop.first or loop.previtem['role'] != turn['role'] -%}
{%- set is_last = loop.last or loop.nextitem['role'] != turn['role'] -%}
{%- if turn['role'] == 'user' -%}
{{- (@before_query@ if is_first else '') + turn['content'] + (@after_query@ if is_last else '') -}}
{%- elif turn['role'] == 'assistant' -%}
{{- '' + turn['content'] -}}
{%- if not loop.last -%}{{- @separator@ if is_last else '' -}}
{%- elif not add_generation_prompt -%}{{- @end@ -}}{%- endif -%}
{%- else -%}
{{- raise_exception('only system, first, and user and assistant in turn can be written') -}}
{%- endif -%}
{%- endfor -%}
"""


def chat_template(dialogue: Dialogue, bos: str, eos: str, system: str = R1_SYSTEM) -> str:
    """Return the chat template of a dialogue, in ASCII alone.

    Args:
        dialogue: of the model.
        bos: the token that its tokenizer adds at the beginning of a text; servers turn this off.
        eos: its end-of-sequence token.
        system: the system prompt of a conversation that has none.
    """
    before_system, _, after_system = dialogue.opening.partition(SYSTEM)
    before_query, _, after_query = dialogue.turn.partition(QUERY)
    texts = {
        "default": system,
        "bos": "" if dialogue.writes_bos else bos,
        "before_system": before_system,
        "after_system": after_system,
        "no_system": dialogue.bare_opening,
        "before_query": before_query,
        "after_query": after_query,
        "separator": dialogue.separator,
        "end": eos if dialogue.end is None else dialogue.end,
    }
    return _PLACE.sub(lambda place: _literal(texts[place[1]]), _CONVERSATION)


def _literal(text: str) -> str:
    """Return a string literal of Jinja; vLLM reads the file in the encoding of its locale."""
    escaped = text.encode("unicode_escape").decode("ascii").replace("'", "\\'")
    return f"'{escaped}'"
