"""`cardume publish`: the server API, from a shell."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

from cardume.errors import CardumeError, ConfigurationError, Invalid, Unavailable
from cardume.settings import Settings, secret
from cardume.wire import json

TIMEOUT = 10.0


def publish(
    settings: Settings, url: str, channel: str, text: str, *, type: str | None, key: str | None
) -> str:
    """Publish `text`, which is JSON, and answer the position as ``EPOCH:OFFSET``.

    Raises:
        ConfigurationError: no key, no server, or not one of ours.
        Invalid: `text` is not JSON.
        CardumeError: the server said no, and why.
    """
    api_key = secret(settings.api_key)
    if api_key is None:
        raise ConfigurationError("set CARDUME_API_KEY to the server's API key")
    try:
        data = json.parse(text)
    except Invalid:
        raise Invalid("that is not JSON; a text needs its quotes: '\"hello\"'") from None
    asked: dict[str, Any] = {"channel": channel, "data": data}
    asked |= {name: value for name, value in (("type", type), ("key", key)) if value is not None}
    answer = _post(f"{url.rstrip('/')}/api/publish", api_key, json.encode(asked))
    if "error" in answer:
        raise CardumeError(f"the server refused: {answer['error'].get('message')}")
    result = answer.get("result", {})
    if not result.get("epoch"):
        return "published (this channel keeps no history, so there is no position)"
    return f"{result['epoch']}:{result['offset']}"


def _post(url: str, api_key: str, body: bytes) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "X-API-Key": api_key}
    try:
        request = urllib.request.Request(url, body, headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            answer = json.parse(response.read())
    except urllib.error.HTTPError as error:
        raise _refusal(error) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ConfigurationError(
            f"no server at {url} ({reason}): start `cardume serve`, or name it with --url"
        ) from None
    if not isinstance(answer, dict):
        raise ConfigurationError(f"what answers at {url} is not Cardume")
    return answer


def _refusal(error: urllib.error.HTTPError) -> CardumeError:
    if error.code == 401:
        return ConfigurationError("the server does not know this key: check CARDUME_API_KEY")
    if error.code == 503:
        return Unavailable("the server cannot take it now; try again")
    try:
        detail = json.parse(error.read()).get("detail")
    except (Invalid, AttributeError):
        detail = None
    return CardumeError(f"the server answered {error.code}: {detail or error.reason}")
