"""Litestar's channels plugin with its memory backend and its own WebSocket routes."""

from litestar import Litestar, Request, post
from litestar.channels import ChannelsPlugin
from litestar.channels.backends.memory import MemoryChannelsBackend

channels = ChannelsPlugin(
    backend=MemoryChannelsBackend(),
    channels=["news"],
    create_ws_route_handlers=True,
)


@post("/publish")
async def publish(request: Request) -> None:
    channels.publish(await request.body(), ["news"])


app = Litestar([publish], plugins=[channels])
