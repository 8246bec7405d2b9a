"""A database that one process owns, and writes to only while it does.

Whoever has the turn to write keeps all other processes out, those that would take over as well. So
at the begin of a transaction it is enough to know that nobody can have done it since the last
heartbeat; where that was too long ago, the row is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from sqlalchemy import delete, insert, select, update

from cardume.clock import Clock
from cardume.errors import ConfigurationError, Unavailable
from cardume.storage.announcer import Lose, Publish
from cardume.storage.database import Storage, Write
from cardume.storage.owner import (
    LEASE,
    Owned,
    Owner,
    beat_every,
    database_now,
    look,
    owner_from,
    patience,
    select_owner,
    watch_at_least,
)
from cardume.storage.process import Process, this_process
from cardume.storage.tables import ownership

logger = logging.getLogger("cardume.storage")

_LOOKS = 10
"""How often a heartbeat is looked for while one could come."""

_TOKEN = select(ownership.c.token).where(ownership.c.id == 1)


def _nobody_to_tell() -> None:
    """Where nothing has to be stopped."""


class OwnedStorage(Storage):
    """`Storage` that refuses to open beside a living owner, and to write when it was replaced."""

    def __init__(
        self,
        url: str,
        publish: Publish,
        clock: Clock,
        *,
        lose: Lose | None = None,
        lease: float = LEASE,
        process: Process | None = None,
    ) -> None:
        super().__init__(url, publish, lose)
        self.address: str | None = None
        """Where our HTTP API is; for those who find the database in use."""
        self.lost: str | None = None
        """What to say, once another process has taken the database over."""
        self.on_lost: Callable[[], object] = _nobody_to_tell
        self._clock = clock
        self._lease = lease
        self._process = process or this_process()
        self._token: str | None = None
        self._sure_until = 0.0
        self._beating: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take the database, then do as `Storage` does.

        Raises:
            Owned: a server that is alive has it.
            ConfigurationError: there is no database to be had at this URL.
        """
        dead = await self._outlive(await look(self._backend))
        try:
            await super().open()
        except ConfigurationError as error:
            if dead is None or "lock" not in str(error):
                raise
            # It was paused in the middle of a transaction, and keeps the turn.
            advice = f"it hangs in the middle of a transaction; end it: kill -9 {dead.process.pid}"
            raise Owned(await look(self._backend) or dead, advice) from error
        try:
            await self._claim(dead)
        except BaseException:
            await self.close()
            raise
        self._beating = asyncio.create_task(self._beat_on(), name="database heartbeat")

    async def close(self) -> None:
        """Give the database back, and let go."""
        beating, self._beating = self._beating, None
        if beating is not None:
            beating.cancel()
            await asyncio.wait({beating})
        token, self._token = self._token, None
        if token is not None and self.lost is None:
            with contextlib.suppress(Unavailable):
                async with super().write() as tx:
                    await tx.execute(delete(ownership).where(ownership.c.token == token))
        await super().close()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Write]:
        """As `Storage.write`, for the owner alone.

        Raises:
            Unavailable: also when another process has taken the database over.
        """
        async with super().write() as tx:
            await self._check(tx)
            yield tx

    async def beat(self) -> None:
        """Say that we are alive.

        Raises:
            Unavailable: it could not be kept, or the database is not ours any more.
        """
        begun = self._clock.monotonic()
        async with self.write() as tx:
            mine = update(ownership).where(ownership.c.token == self._token)
            values = {"beat": ownership.c.beat + 1, "beat_at": database_now()}
            if (await tx.execute(mine.values(values))).rowcount == 0:
                await self._give_up(tx)
            tx.on_commit(lambda: self._renew(begun))

    # -- taking it --------------------------------------------------------------------------

    async def _outlive(self, found: Owner | None) -> Owner | None:
        """Wait until the owner is known to be dead, if it is; None: there is none.

        Raises:
            Owned: it is alive.
        """
        while found is not None:
            wait = patience(found, self._process, one_machine=self._backend.one_machine)
            if wait is None:
                raise Owned(found)
            if wait == 0:
                return found
            logger.warning("this database has an owner (%s): looking if it lives", found)
            until = self._clock.monotonic() + wait
            while self._clock.monotonic() < until:
                await self._clock.sleep(beat_every(found.lease) / _LOOKS)
                now = await look(self._backend)
                if now is None or now.token != found.token:
                    found = now
                    break
                if now.beat != found.beat:
                    raise Owned(now)
            else:
                return found
        return None

    async def _claim(self, dead: Owner | None) -> None:
        begun = self._clock.monotonic()
        token = secrets.token_hex(8)
        async with super().write() as tx:
            found = owner_from((await tx.execute(select_owner())).first())
            if found is not None:
                if dead is None or (found.token, found.beat) != (dead.token, dead.beat):
                    raise Owned(found)
                logger.warning("taking over from an owner that is gone (%s)", found)
                await tx.execute(delete(ownership))
            await tx.execute(insert(ownership).values(**self._row(token)))
        self._token, self.lost = token, None
        self._renew(begun)

    def _row(self, token: str) -> dict[str, object]:
        return {
            "id": 1,
            "token": token,
            "since": database_now(),
            "beat": 0,
            "beat_at": database_now(),
            "lease": self._lease,
            "address": self.address,
            **msgspec.structs.asdict(self._process),
        }

    # -- keeping it -------------------------------------------------------------------------

    def _renew(self, since: float) -> None:
        # Whoever takes over has watched for longer than this and has seen no heartbeat.
        self._sure_until = since + 0.9 * watch_at_least(self._lease)

    async def _check(self, tx: Write) -> None:
        if self.lost is not None:
            raise Unavailable(self.lost)
        if self._clock.monotonic() < self._sure_until:
            return
        if (await tx.execute(_TOKEN)).scalar() != self._token:
            await self._give_up(tx)

    async def _give_up(self, tx: Write) -> None:
        owner = owner_from((await tx.execute(select_owner())).first())
        by = "" if owner is None else f" ({owner})"
        self.lost = f"another server has taken the database over{by}, so this one stops"
        logger.error("%s; it wrote nothing since", self.lost)
        self.on_lost()
        raise Unavailable(self.lost)

    async def _beat_on(self) -> None:
        while self.lost is None:
            await self._clock.sleep(beat_every(self._lease))
            try:
                await self.beat()
            except Unavailable:
                continue  # storage has said why; the next one may be kept
            except Exception:
                logger.exception("the database heartbeat failed; it goes on")
