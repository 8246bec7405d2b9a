"""The way in of a WebSocket: refused, turned away, or let in for as long as it stays."""

from __future__ import annotations

from cardume.hub.hub import Hub
from cardume.transports.asgi import Visit
from cardume.transports.door import (
    Receive,
    Scope,
    Send,
    Visitor,
    address_of,
    client_of,
    refuse_before_accept,
)
from cardume.transports.handover import handover_of
from cardume.transports.socket import Socket
from cardume.transports.stay import Address, Admission, code_for
from cardume.wire.codes import CloseCode
from cardume.wire.dialects import Dialect


async def serve(hub: Hub, address: Address, scope: Scope, receive: Receive, send: Send) -> None:
    """One WebSocket, from handshake to close."""
    hub.check_running()
    if await refuse_before_accept(hub, scope, receive, send):
        return
    visitor = Visitor(scope)
    try:
        admission = await address.admit(hub, visitor, scope)
    except Exception as error:
        code = code_for(error)
        hub.rejects.note(code.reason.replace(" ", "_"), client_of(scope))
        await turn_away(hub, address.dialect, send, visitor, code)
        return
    await accept(hub, visitor, scope, send)
    # Asked after the last await: of many that come at once only so many are let in.
    identity, begin, where = admission.identity, admission.begin, address_of(scope)
    refusal = hub.refusal(identity, where)
    if refusal is not None:
        await _part(hub, address.dialect, send, refusal)
        return
    admission = Admission(identity, begin, where)
    await stay(hub, address.dialect, admission, scope, receive, send)


async def accept(hub: Hub, visitor: Visitor, scope: Scope, send: Send) -> None:
    """Answer the handshake."""
    handover = handover_of(scope)
    if handover is not None and hub.namespaces.deflate:
        handover.offer_compression()
    await send({"type": "websocket.accept", "subprotocol": visitor.subprotocol})


async def stay(
    hub: Hub, dialect: Dialect, admission: Admission, scope: Scope, receive: Receive, send: Send
) -> None:
    """Have an accepted WebSocket served.

    Returns when its peer has left; where its server can let go of it, as soon as it is greeted.
    """
    handover = handover_of(scope)
    if handover is None:
        await Visit(hub, dialect, admission, receive, send).run()
    elif not handover.lost:
        await Socket(hub).run(dialect, admission, handover)


async def turn_away(
    hub: Hub, dialect: Dialect, send: Send, visitor: Visitor, code: CloseCode
) -> None:
    """Accept and close: a browser cannot read a refused handshake, a close code it can."""
    await send({"type": "websocket.accept", "subprotocol": visitor.subprotocol})
    await _part(hub, dialect, send, code)


async def _part(hub: Hub, dialect: Dialect, send: Send, code: CloseCode) -> None:
    goodbye = dialect.goodbye(code, time=hub.clock.now())
    if goodbye is not None:
        await send({"type": "websocket.send", "text": goodbye.decode()})
        hub.stats.messages_sent += 1
    await send({"type": "websocket.close", "code": code.number, "reason": code.reason})
