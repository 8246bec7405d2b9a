"""uWebSockets (C++) by its Python binding socketify: its own topics do the fan-out.

It waits in uWebSockets' loop alone: socketify's own `run()` turns asyncio beside it and polls
both without a pause, which would count as CPU of its deliveries.
"""

import signal
import sys

from socketify import App, OpCode

app = App()


def opened(ws):
    ws.subscribe("news")


def publish(response, _request):
    def heard(response, part, is_end):
        parts.append(part)
        if is_end:
            app.publish("news", b"".join(parts), OpCode.TEXT)
            response.end("{}")

    parts = []
    response.on_data(heard)


app.ws("/ws", {"open": opened, "idle_timeout": 120})
app.post("/publish", publish)
app.listen(int(sys.argv[1]))
signal.signal(signal.SIGTERM, signal.SIG_DFL)
app.loop.uv_loop.run()
