"""Users with a password: logging in, and whose token it is.

Nobody needs a row here to be let in: a token of somebody else's login is as good.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import AfterValidator, Field
from sqlalchemy import insert, select, update
from starlette.requests import Request
from typing_extensions import TypedDict

from cardume.auth.secrets import MAX_PASSWORD, hash_password, verify_password
from cardume.auth.signer import TokenSigner
from cardume.errors import Refused
from cardume.hub.limits import TokenBucket
from cardume.storage.database import Storage
from cardume.storage.tables import users
from cardume.transports.bodies import Body, printable
from cardume.transports.fastapi import CurrentIdentity
from cardume.transports.problems import ProblemRoute
from cardume.wire import codes
from cardume.wire.messages import rfc3339

TOKEN_TTL = 12 * 3600.0
"""Seconds a token lives that a login gives."""

LOGINS_PER_SECOND = 5.0
"""A password check costs tens of milliseconds and 16 MiB; guessing is not to stall us."""

_STATE = "cardume_accounts"


class Token(TypedDict):
    access_token: str
    token_type: str
    expires_in: int


class Me(TypedDict):
    sub: str
    kind: str
    role: str | None
    expires_at: str | None


class Account(TypedDict):
    name: str
    role: str | None


class Password(Body):
    """What a user logs in with from now on."""

    password: str = Field(min_length=8, max_length=MAX_PASSWORD)
    admin: bool = False


class Accounts:
    """The users table, and the tokens given for a password."""

    def __init__(self, storage: Storage, signer: TokenSigner | None) -> None:
        self._storage = storage
        self._signer = signer
        self._bucket = TokenBucket(LOGINS_PER_SECOND, 4 * LOGINS_PER_SECOND, 0.0)

    async def add(self, name: str, password: str, *, admin: bool, now: float) -> Account:
        """Add a user, or give an existing one this password; an admin stays one."""
        values = {"password_hash": await asyncio.to_thread(hash_password, password)}
        if admin:
            values["role"] = "admin"
        async with self._storage.write() as tx:
            known = await tx.execute(update(users).where(users.c.name == name).values(**values))
            if known.rowcount == 0:
                await tx.execute(insert(users).values(name=name, created_at=now, **values))
            role = (await tx.execute(select(users.c.role).where(users.c.name == name))).scalar()
        return {"name": name, "role": role}

    async def log_in(self, name: str, password: str, now: float) -> Token:
        """A token for a name and a password.

        Raises:
            Refused: too many attempts; no secret to sign with.
            HTTPException: 401.
        """
        if self._signer is None:
            raise Refused(codes.NOT_AVAILABLE, "tokens come from your own login here")
        if not self._bucket.take(now):
            raise Refused(codes.RATE_LIMITED, "too many logins; try again in a moment")
        async with self._storage.read() as connection:
            row = (await connection.execute(select(users).where(users.c.name == name))).first()
        stored = None if row is None else row.password_hash
        if not await asyncio.to_thread(verify_password, password, stored) or row is None:
            raise HTTPException(401, "wrong name or password", {"WWW-Authenticate": "Bearer"})
        token = self._signer.mint(name, ttl=TOKEN_TTL, role=row.role)
        return {"access_token": token, "token_type": "bearer", "expires_in": int(TOKEN_TTL)}


async def _accounts_of(request: Request) -> Accounts:
    accounts: Accounts = getattr(request.state, _STATE)
    return accounts


def router(accounts: Accounts) -> APIRouter:
    """`/api/v1/auth` and `/api/v1/users`, over `accounts`."""

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
        yield {_STATE: accounts}

    whole = APIRouter(lifespan=lifespan)
    whole.include_router(_router)
    whole.include_router(_users)
    return whole


_router = APIRouter(prefix="/api/v1/auth", route_class=ProblemRoute, tags=["auth"])
_users = APIRouter(prefix="/api/v1/users", route_class=ProblemRoute, tags=["auth"])


@_router.post("/token")
async def log_in(
    request: Request,
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    accounts: Annotated[Accounts, Depends(_accounts_of)],
) -> Token:
    """The OAuth2 password form. Users are added by `cardume user add` or `PUT /users/{name}`."""
    now = asyncio.get_running_loop().time()
    return await accounts.log_in(form.username, form.password, now)


@_router.get("/me")
async def me(who: CurrentIdentity) -> Me:
    """Whose token this is."""
    expires = None if who.expires_at is None else rfc3339(who.expires_at)
    return {"sub": who.sub, "kind": who.kind, "role": who.role, "expires_at": expires}


@_users.put("/{name}")
async def put_user(
    name: Annotated[str, Path(min_length=1, max_length=255), AfterValidator(printable)],
    body: Password,
    who: CurrentIdentity,
    accounts: Annotated[Accounts, Depends(_accounts_of)],
) -> Account:
    """Add a user, or give an existing one this password. Admins only; an admin stays one."""
    if not who.is_admin:
        raise Refused(codes.PERMISSION_DENIED, "only an admin adds users")
    return await accounts.add(name, body.password, admin=body.admin, now=time.time())
