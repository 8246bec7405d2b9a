"""From CONNECT to CONNACK: the one thing a connection has to wait for."""

from __future__ import annotations

from enum import StrEnum

from cardume.errors import Unavailable
from cardume.mqtt.faults import Faults
from cardume.mqtt.packets import Connect
from cardume.mqtt.ports import Gatekeeper, Login, Principal


class Refusal(StrEnum):
    """Why a CONNECT was not accepted."""

    PROTOCOL_VERSION = "protocol_version"
    CLIENT_ID = "client_id"
    UNAVAILABLE = "login_unavailable"
    CREDENTIALS = "bad_credentials"
    ANONYMOUS = "no_credentials"
    WILL = "forbidden_will"

    @property
    def code(self) -> int:
        """The CONNACK's return code, §3.2.2.3."""
        return _CODES[self]


_CODES = {
    Refusal.PROTOCOL_VERSION: 1,
    Refusal.CLIENT_ID: 2,
    Refusal.UNAVAILABLE: 3,
    Refusal.CREDENTIALS: 4,
    Refusal.ANONYMOUS: 5,
    Refusal.WILL: 5,
}


async def judge(
    gatekeeper: Gatekeeper, packet: Connect, peer: str, faults: Faults
) -> Principal | Refusal:
    """The principal that `packet` logs in as, or why it may not."""
    login = Login(packet.client_id, packet.username, packet.password, peer)
    try:
        principal = await gatekeeper.authenticate(login)
        if principal is None:
            return Refusal.ANONYMOUS if packet.username is None else Refusal.CREDENTIALS
        if packet.will is not None and not principal.may_publish(packet.will.topic):
            return Refusal.WILL
    except Unavailable:
        return Refusal.UNAVAILABLE
    except Exception as error:
        faults.note("the MQTT gatekeeper", error)
        return Refusal.UNAVAILABLE
    return principal
