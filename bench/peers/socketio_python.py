"""python-socketio under ASGI: everybody is told by `emit`."""

import json

import socketio

server = socketio.AsyncServer(async_mode="asgi")


async def publish(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await server.emit("reading", json.loads(body))
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


app = socketio.ASGIApp(server, other_asgi_app=publish)
