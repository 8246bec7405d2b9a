"""Who may log in over MQTT, and what they may touch."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cardume.devices.registry import Registry
from cardume.mqtt.ports import Login, Principal


@dataclass(frozen=True, slots=True)
class DevicePrincipal:
    """A device: writes below its own id, hears its own commands."""

    name: str
    prefix: str

    def may_publish(self, topic: str) -> bool:
        return topic.startswith(f"{self.prefix}/{self.name}/")

    def may_subscribe(self, topic_filter: str) -> bool:
        return topic_filter == f"{self.prefix}/{self.name}/command"


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """A service with the API key: reads everything, writes nothing."""

    name: str

    def may_publish(self, topic: str) -> bool:
        return False

    def may_subscribe(self, topic_filter: str) -> bool:
        return True


class DeviceGatekeeper:
    """`cardume.mqtt.ports.Gatekeeper`: the user is a device's id, the password its key."""

    def __init__(self, devices: Registry, prefix: str, api_key: str | None) -> None:
        self._devices = devices
        self._prefix = prefix
        self._api_key = api_key

    async def authenticate(self, login: Login) -> Principal | None:
        if not login.username or not login.password:
            return None
        if self._api_key and hmac.compare_digest(login.password, self._api_key.encode()):
            # Not a device's name: sessions belong to a name, and a device's stay its own.
            return ServicePrincipal(f"service:{login.username}")
        try:
            key = login.password.decode()
        except UnicodeDecodeError:
            return None
        device = await self._devices.authenticate(login.username, key)
        return None if device is None else DevicePrincipal(device.device_id, self._prefix)
