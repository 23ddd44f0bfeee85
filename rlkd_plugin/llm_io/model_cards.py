"""Reads what a server reports about its model in `/v1/models`; nothing there is required.

vLLM reports the path or the repository that it serves (`root`), and the base model of a LoRA
(`parent`). SGLang reports the path and a version of the weights in `/model_info`. `swift deploy`
and most others report only a name.
"""

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io.endpoint import Endpoint
from rlkd_plugin.llm_io.own_keys import OwnKeys, is_sendable, own_keys, read_key
from rlkd_plugin.llm_io.proxies import proxy_for
from rlkd_plugin.llm_io.transport import certificates_for

TIMEOUT = 5.0
"""Seconds for one try; the list has only a few lines."""
TRIES = 3
"""Most tries if a server does not respond or is busy."""
MOST_BYTES = 16 << 20
"""Bytes beyond which a reply is no list of models."""


@dataclass(frozen=True, slots=True)
class Card:
    """The information of a server about a model.

    Attributes:
        root: the path or the repository; empty if not reported, or equal to the name.
        parent: of a LoRA, the base model's path, repository or name.
        revision: of the weights, if reported.
        fault: why there is no information about this model.
        is_reply: whether the server replied at all.
        context: most tokens of a prompt and its reply, 0 if not reported; it does not identify
            the model.
        names: of all models on the server, if this one is not among them.
    """

    root: str = ""
    parent: str = ""
    revision: str = ""
    fault: str = ""
    is_reply: bool = True
    context: int = field(default=0, compare=False)
    names: tuple[str, ...] = field(default=(), compare=False)


async def ask_cards(endpoint: Endpoint) -> dict[str, Card]:
    """Return the card of the model on each server of an endpoint, by URL."""
    key = read_key(endpoint.api_key_env)
    keys = own_keys(endpoint.api_key_env)
    cards = await asyncio.gather(*(_ask(url, endpoint.model, key, keys) for url in endpoint.urls))
    return dict(zip(endpoint.urls, cards, strict=True))


async def _ask(url: str, model: str, key: str, keys: OwnKeys) -> Card:
    try:
        proxy = proxy_for(url)
    except EndpointError as error:
        return Card(fault=str(error), is_reply=False)
    headers = {"Authorization": f"Bearer {key}"} if key and is_sendable(key) else {}
    async with aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        connector=aiohttp.TCPConnector(ssl=certificates_for([url])),
        proxy=proxy and proxy.address,
    ) as session:
        status, payload = await _get(session, f"{url}/models", keys)
        if status != 200:
            words = f"HTTP {status}" if status else payload
            return Card(fault=f"/v1/models: {words}", is_reply=bool(status))
        card, owner = read_card(payload, model)
        if owner == "sglang":
            card = await _with_model_info(session, url.removesuffix("/v1"), card, keys)
        return card


async def _with_model_info(
    session: aiohttp.ClientSession, base: str, card: Card, keys: OwnKeys
) -> Card:
    """Return SGLang's card with the base model's path and the version of the weights."""
    for name in ("model_info", "get_model_info"):  # of newer and of older servers
        status, payload = await _get(session, f"{base}/{name}", keys)
        info = _object(payload) if status == 200 else {}
        path, version = _text(info, "model_path"), _text(info, "weight_version")
        if path:
            version = "" if version == "default" else version
            if card.parent:
                return replace(card, parent=path, revision=version)
            return replace(card, root=path, revision=version)
    return card


async def _get(session: aiohttp.ClientSession, url: str, keys: OwnKeys) -> tuple[int, str]:
    """Return status and text of a reply; status 0 and the reason without one."""
    status, words = 0, ""
    for number in range(TRIES):
        await asyncio.sleep(0.2 * number)
        try:
            async with session.get(url) as response:
                status = response.status
                payload = b""
                async for part in response.content.iter_any():
                    payload += part
                    if len(payload) > MOST_BYTES:
                        return status, ""
                payload = keys.redact_body(payload, is_error=status != 200)
                words = payload.decode("utf-8", errors="replace")
        except asyncio.TimeoutError:
            status, words = 0, f"no answer in {TIMEOUT:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            status, words = 0, keys.redact_error(f"{type(error).__name__}: {error}")
        if status and status not in (429, 500, 502, 503, 504):
            break
    return status, words


def read_card(payload: str, model: str) -> tuple[Card, str]:
    """Return the card of a model in the reply to `/v1/models`, and its owner (`owned_by`)."""
    entries = _object(payload).get("data")
    if not isinstance(entries, list):
        return Card(fault="/v1/models has no list of models"), ""
    named = {_text(entry, "id"): entry for entry in entries if isinstance(entry, dict)}
    found = [entry for entry in entries if _text(entry, "id") == model]
    if not found:
        names = tuple(name for name in named if name)
        return Card(fault=f"/v1/models does not list {model!r}", names=names), ""
    cards = {_card_of(entry, named, model) for entry in found}
    if len(cards) > 1:
        return Card(fault=f"/v1/models lists {model!r} as several models"), ""
    return cards.pop(), _text(found[0], "owned_by")


def _card_of(entry: dict[str, Any], named: dict[str, Any], model: str) -> Card:
    root, parent = _text(entry, "root"), _text(entry, "parent")
    if parent:
        parent = _text(named.get(parent), "root") or parent
    context = entry.get("max_model_len")
    return Card(
        "" if root == model else root,
        parent,
        _text(entry, "revision"),
        context=context if isinstance(context, int) else 0,
    )


def _object(payload: str) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(entry: Any, name: str) -> str:
    """Return a value that is a text, else ""; a lone surrogate becomes an escape."""
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", errors="backslashreplace").decode("utf-8")  # logs are UTF-8
