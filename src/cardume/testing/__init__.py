"""Tools for testing real-time code without waiting: import them in your own tests.

They work under any test runner that awaits, such as pytest with anyio or pytest-asyncio.
"""

from cardume.testing.client import Client, client
from cardume.testing.clock import FakeClock, settle
from cardume.testing.link import Denied
from cardume.testing.site import Site, running
from cardume.testing.speech import ActionError

__all__ = [
    "ActionError",
    "Client",
    "Denied",
    "FakeClock",
    "Site",
    "client",
    "running",
    "settle",
]
