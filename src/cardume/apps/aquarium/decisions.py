"""What people decide about alerts: the functions behind both the HTTP calls and the actions."""

from __future__ import annotations

from datetime import datetime

from pydantic import AliasChoices, AwareDatetime, Field

from cardume.alerts import store
from cardume.alerts.lifecycle import Alert
from cardume.apps.aquarium.catalogue import Catalogue
from cardume.apps.aquarium.ingest import Ingest
from cardume.apps.aquarium.views import AlertView, alert_view
from cardume.auth.identity import Identity
from cardume.errors import Refused
from cardume.storage.database import Storage, Write
from cardume.transports.bodies import Body
from cardume.wire import codes


class Ack(Body):
    """The body of an acknowledgement."""

    note: str | None = Field(None, max_length=2000)


class Shelve(Body):
    """The body of a shelving: no notifications before `until`."""

    until: AwareDatetime
    reason: str = Field(min_length=1, max_length=2000)


_id = AliasChoices("alert_id", "id")


class AckAction(Ack):
    """As a WebSocket action, which has no path to name the alert."""

    alert_id: int = Field(validation_alias=_id)


class ShelveAction(Shelve):
    alert_id: int = Field(validation_alias=_id)


class Decisions:
    """Acknowledge and shelve, for members of the alert's aquarium."""

    def __init__(self, storage: Storage, catalogue: Catalogue, ingest: Ingest) -> None:
        self._storage = storage
        self._catalogue = catalogue
        self._ingest = ingest

    async def acknowledge(self, identity: Identity, alert_id: int, body: Ack) -> AlertView:
        """Idempotent: the second time it answers the same and announces nothing.

        Raises:
            Refused: 404, 403.
        """
        async with self._storage.write() as tx:
            alert = await self._find(tx, identity, alert_id)
            changes = self._ingest.changes(tx)
            return alert_view(await changes.alarms.acknowledge(alert, identity.sub, body.note))

    async def shelve(self, identity: Identity, alert_id: int, body: Shelve) -> AlertView:
        """Raises `Refused`: 404, 403, 409 for a cleared alert, 422 for a time that has passed."""
        async with self._storage.write() as tx:
            alert = await self._find(tx, identity, alert_id)
            until: datetime = body.until
            changes = self._ingest.changes(tx)
            return alert_view(await changes.alarms.shelve(alert, until.timestamp(), body.reason))

    async def _find(self, tx: Write, identity: Identity, alert_id: int) -> Alert:
        """An alert of somebody else's aquarium looks like none."""
        alert = await store.get(tx, alert_id)
        if not self._catalogue.may_see(identity, alert.aquarium_id):
            raise Refused(codes.NOT_FOUND, f"no alert {alert_id}")
        self._catalogue.check_writer(identity, alert.aquarium_id)
        return alert
