"""`cardume serve`: the hub with its ready apps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["create_app"]


def create_app() -> FastAPI:
    """The application of `cardume serve`, for any ASGI server: settings from the environment.

    ``uvicorn --factory cardume.server:create_app --reload``
    """
    # Here and not above: every command imports this package, and `--help` needs no database.
    from cardume.server.compose import Composition
    from cardume.settings import Settings

    composition = Composition(Settings())
    composition.app.add_middleware(composition.meters.around)
    return composition.app
