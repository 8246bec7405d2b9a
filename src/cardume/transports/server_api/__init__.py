"""The server API: other programs publish, read and manage by HTTP, as Centrifugo lets them."""

from cardume.transports.server_api.router import ServerApi

__all__ = ["ServerApi"]
