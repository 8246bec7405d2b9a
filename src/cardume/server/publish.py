"""`cardume publish`: the server API, from a shell."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from typing import Any

from cardume.client import answers
from cardume.client.http import context_of, reason_of
from cardume.errors import CardumeError, ConfigurationError, Invalid, Refused, Unavailable
from cardume.server.console import said_with
from cardume.settings import Settings, secret
from cardume.wire import json
from cardume.wire.messages import Position

TIMEOUT = 10.0


def publish(
    settings: Settings,
    url: str,
    channel: str,
    text: str,
    *,
    type: str | None,
    key: str | None,
    ca: str | None = None,
) -> str:
    """Publish `text`, which is JSON, and answer the position as ``EPOCH:OFFSET``.

    `ca` is a PEM file of those whose certificates are good, in place of the system's.

    Raises:
        ConfigurationError: no key, no server, one that is not to be trusted, or not one of ours.
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
    address = f"{url.rstrip('/')}/api/publish"
    tls = context_of(ca) if address.startswith("https:") else None
    answer = _post(address, api_key, json.encode(asked), tls)
    try:
        position = answers.read(answers.result_of(answer), Position)
    except (Refused, Invalid, Unavailable) as error:
        raise CardumeError(f"the server refused: {error}") from None
    except ConfigurationError:
        raise ConfigurationError(f"what answers at {address} is not Cardume") from None
    if not position:
        return "published (this channel keeps no history, so there is no position)"
    return str(position)


def _post(url: str, api_key: str, body: bytes, tls: ssl.SSLContext | None) -> bytes:
    headers = {"Content-Type": "application/json", "X-API-Key": api_key}
    try:
        request = urllib.request.Request(url, body, headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT, context=tls) as response:
            said: bytes = response.read()
            return said
    except urllib.error.HTTPError as error:
        raise _refusal(error) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise ConfigurationError(
                f"the certificate at {url} is not to be trusted ({reason_of(reason)}): name the "
                "CA that signed it with --ca ca.pem or CARDUME_CA"
            ) from None
        why = reason_of(reason) if isinstance(reason, OSError) else reason
        raise ConfigurationError(
            f"no server at {url} ({why}): start `cardume serve`, or name it with --url"
        ) from None
    except http.client.HTTPException:
        raise ConfigurationError(f"what answers at {url} is not Cardume") from None


def _refusal(error: urllib.error.HTTPError) -> CardumeError:
    if error.code == 401:
        return ConfigurationError("the server does not know this key: check CARDUME_API_KEY")
    if error.code == 503:
        return Unavailable("the server cannot take it now; try again")
    return CardumeError(f"the server answered {error.code}: {said_with(error)}")
