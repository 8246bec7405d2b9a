"""`cardume serve`: the hub with its ready apps."""

from cardume.server.compose import create_app

__all__ = ["create_app"]
