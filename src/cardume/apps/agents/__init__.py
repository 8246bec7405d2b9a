"""Agents and what they do together: leases, tasks, a leader, votes."""

from cardume.apps.agents.app import Agents, AgentsOptions
from cardume.apps.agents.http import router

__all__ = ["Agents", "AgentsOptions", "router"]
