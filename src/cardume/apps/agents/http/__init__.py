"""The app's HTTP API: `/agents` and `/coordination`, without a prefix."""

from __future__ import annotations

from fastapi import APIRouter

from cardume.apps.agents.app import Agents
from cardume.apps.agents.http import agents, consensus, election, tasks
from cardume.transports.apps import router_of


def router(app: Agents) -> APIRouter:
    """Addresses for `app`; including the router starts the app with the application."""
    return router_of(app, *(part.router for part in (agents, tasks, election, consensus)))
