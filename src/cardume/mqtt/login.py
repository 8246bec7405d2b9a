"""From CONNECT to CONNACK: the one thing a connection has to wait for."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from cardume.errors import Unavailable
from cardume.mqtt.codec.packets import LEVEL_5, Connect
from cardume.mqtt.codec.reasons import Reason
from cardume.mqtt.faults import Faults
from cardume.mqtt.ports import Gatekeeper, Login, Principal


class Refusal(StrEnum):
    """Why a CONNECT was not accepted."""

    PROTOCOL_VERSION = "protocol_version"
    CLIENT_ID = "client_id"
    UNAVAILABLE = "login_unavailable"
    CREDENTIALS = "bad_credentials"
    ANONYMOUS = "no_credentials"
    WILL = "forbidden_will"
    AUTHENTICATION = "enhanced_authentication"

    def code(self, level: int) -> int:
        """The CONNACK's return code (3.1.1 §3.2.2.3) or reason code (5.0 §3.2.2.2)."""
        old, reason = _CODES[self]
        return reason if level == LEVEL_5 else old


_CODES: Final = {
    Refusal.PROTOCOL_VERSION: (1, Reason.UNSUPPORTED_VERSION),
    Refusal.CLIENT_ID: (2, Reason.BAD_CLIENT_ID),
    Refusal.UNAVAILABLE: (3, Reason.UNAVAILABLE),
    Refusal.CREDENTIALS: (4, Reason.BAD_CREDENTIALS),
    Refusal.ANONYMOUS: (5, Reason.NOT_AUTHORIZED),
    Refusal.WILL: (5, Reason.NOT_AUTHORIZED),
    Refusal.AUTHENTICATION: (5, Reason.BAD_AUTHENTICATION),
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
