"""Who comes to the demo without a token: this very machine, and nobody through a proxy."""

from __future__ import annotations

import re

from cardume.auth.handshake import header
from cardume.auth.identity import Identity, IdentityKind
from cardume.auth.policy import is_local_demo
from cardume.errors import Invalid
from cardume.hub.options import Scope

USER = "demo"

_MAY_WRITE = re.compile(
    r"/api/v1/(alerts/[0-9]+/(ack|shelve)|board|(cards|executions)(/.*)?)"
    r"|/(agents|coordination)(/.*)?"
    r"|/ws/broadcast",
    re.ASCII,
)
"""Alerts, cards, executions, agents and their coordination, broadcasts. Not aquariums, devices or
keys; `/api/publish` asks for the API key anyway."""


def visitor(scope: Scope) -> Identity | None:
    """The identity of a request without credentials, by its ASGI scope; None: it needs a token.

    It reads everything, and writes what the demo is there to be played with. To change more,
    paste the printed token.
    """
    if not _may(scope):
        return None
    headers = scope["headers"]
    try:
        host, origin = header(headers, b"host"), header(headers, b"origin")
    except Invalid:
        return None
    peer = (scope.get("client") or (None,))[0]
    if not is_local_demo(peer, host, origin, headers):
        return None
    return Identity(USER, kind=IdentityKind.USER, role="service", claims={"broadcast": True})


def _may(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
        return True
    return _MAY_WRITE.fullmatch(scope["path"]) is not None
