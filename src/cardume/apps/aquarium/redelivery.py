"""Messages that come again: a reading without a name of its own is stored once all the same.

Neither id nor time is in it, so it is known by the session and the packet id of its message, and
by the bytes of that, for packet ids are used again.
"""

from __future__ import annotations

import hashlib
from itertools import islice, takewhile

from sqlalchemy import bindparam, delete, select

from cardume.clock import Clock
from cardume.mqtt.ports import Inbound
from cardume.storage.database import Storage, Write
from cardume.storage.statements import insert_or_replace
from cardume.storage.tables import inflight

_SETTLED = delete(inflight).where(
    inflight.c.session == bindparam("of"), inflight.c.packet_id == bindparam("packet")
)

SETTLED_AFTER = 60.0
SETTLED_KEPT = 32
"""A message is remembered after its PUBACK, for written is not received: a device whose connection
broke in between sends it again, be it after an hour without WiFi. So the last ones of a session
stay, more than a client has under way (paho: 20), and all those of the last minute."""

ABANDONED_AFTER = 7 * 86_400.0
"""Seconds after which a message that was never acknowledged is not expected any more."""

Names = dict[tuple[str, int], bytes]
"""A digest by session and packet id: the name of a message that brought no other."""


class Redelivery:
    """What is remembered of the messages that were kept."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._settled: dict[str, dict[int, float]] = {}

    async def is_held(self, tx: Write, message: Inbound, names: Names) -> bool:
        """Whether a message was kept under this session, packet id and bytes; its name is added.

        Kept by an earlier commit, or earlier in the batch of `names`: while the database was away,
        a device may have come back and sent it again.
        """
        if message.packet_id is None:
            return False
        name, digest = (message.session, message.packet_id), _digest(message)
        held = message.dup and digest == (names.get(name) or await _stored(tx, name))
        names[name] = digest
        return held

    async def remember(self, tx: Write, names: Names) -> None:
        """Keep the names of a batch, and forget those that nobody will ask for again."""
        if not names:
            return
        now = self._clock.now()
        rows = [
            {"session": session, "packet_id": id, "digest": digest, "at": now}
            for (session, id), digest in names.items()
        ]
        await tx.execute(insert_or_replace(inflight), rows)
        old = self._outlived(names)
        if old:
            await tx.execute(_SETTLED, [{"of": session, "packet": id} for session, id in old])
        # Once they are kept they are acknowledged; a reused packet id starts its time anew.
        tx.on_commit(lambda: self._settle(names, old))

    async def forget_abandoned(self) -> None:
        """Delete what was committed long ago and never came again."""
        until = self._clock.now() - ABANDONED_AFTER
        async with self._storage.write() as tx:
            await tx.execute(delete(inflight).where(inflight.c.at < until))
            # Within the turn: a batch that is being kept counts on what is settled.
            tx.on_commit(self._forget_sessions)

    def _outlived(self, names: Names) -> list[tuple[str, int]]:
        until = self._clock.monotonic() - SETTLED_AFTER
        old: list[tuple[str, int]] = []
        for session in {session for session, _ in names}:
            settled = self._settled.get(session, {})
            beyond = islice(settled.items(), max(0, len(settled) - SETTLED_KEPT))
            old += [
                (session, id)
                for id, at in takewhile(lambda item: item[1] <= until, beyond)
                if (session, id) not in names
            ]
        return old

    def _settle(self, names: Names, old: list[tuple[str, int]]) -> None:
        now = self._clock.monotonic()
        for session, id in old:
            del self._settled[session][id]
        for session, id in names:
            settled = self._settled.setdefault(session, {})
            settled.pop(id, None)
            settled[id] = now

    def _forget_sessions(self) -> None:
        past = self._clock.monotonic() - ABANDONED_AFTER
        for session in [s for s, held in self._settled.items() if max(held.values()) < past]:
            del self._settled[session]


async def _stored(tx: Write, name: tuple[str, int]) -> bytes | None:
    query = select(inflight.c.digest).where(
        inflight.c.session == name[0], inflight.c.packet_id == name[1]
    )
    digest: bytes | None = (await tx.execute(query)).scalar()
    return digest


def _digest(message: Inbound) -> bytes:
    digest = hashlib.blake2b(message.topic.encode(), digest_size=16)
    digest.update(b"\0" + message.payload)
    return digest.digest()
