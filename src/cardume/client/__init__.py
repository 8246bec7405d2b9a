"""A hub in another process, reached by its server API."""

from cardume.client.calls import Unreachable
from cardume.client.hub_client import HubClient

__all__ = ["HubClient", "Unreachable"]
