"""Where positions are issued. Drivers are named here and loaded when a URL asks for them."""

from __future__ import annotations

from importlib import import_module
from urllib.parse import urlsplit

from cardume.clock import Clock
from cardume.engines.base import Engine
from cardume.errors import ConfigurationError

_DRIVERS = {"memory": "cardume.engines.memory:MemoryEngine"}


def engine_from_url(url: str, clock: Clock) -> Engine:
    """The engine that `url` names, such as ``memory://``.

    Raises:
        ConfigurationError: there is none of that name.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # a host that is none; its text quotes the URL, which may hold a password
        scheme = url.partition(":")[0]
    driver = _DRIVERS.get(scheme)
    if driver is None:
        known = ", ".join(f"{name}://" for name in _DRIVERS)
        raise ConfigurationError(f"CARDUME_ENGINE_URL: no engine {scheme!r} here; there is {known}")
    module, _, name = driver.partition(":")
    engine: Engine = getattr(import_module(module), name)(clock)
    return engine
