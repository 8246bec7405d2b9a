"""The app's HTTP API below ``/api/v1``."""

from __future__ import annotations

from fastapi import APIRouter

from cardume.apps.aquarium.app import Aquarium
from cardume.apps.aquarium.http import alerts, aquariums, commands, devices, readings, rules
from cardume.transports.apps import router_of


def router(app: Aquarium) -> APIRouter:
    """Addresses for `app`; including the router starts the app with the application."""
    parts = (aquariums, readings, devices, commands, rules, alerts)
    return router_of(app, *(part.router for part in parts), prefix="/api/v1")
