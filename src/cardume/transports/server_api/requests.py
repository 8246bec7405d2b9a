"""What each call of the server API takes: Centrifugo's fields, and a few of our own.

A field that we do not have is passed over, as Centrifugo does: its clients are ahead of servers.
One that would narrow a call down, and that we cannot honour, is refused by its method.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cardume.errors import Invalid
from cardume.wire import json
from cardume.wire.messages import MAX_TEXT, Position

MAX_COMMANDS = 1000
"""Commands in a batch, and channels in a broadcast."""

MAX_LIST = 1000
"""Entries of any other list."""

MAX_TIME = 253_402_300_800
"""Seconds since the Unix epoch: the end of the year 9999."""

Text = Annotated[str, Field(max_length=MAX_TEXT)]
Time = Annotated[int, Field(ge=0, le=MAX_TIME, description="seconds since the Unix epoch")]


class Request(BaseModel):
    """Parameters of a call."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Publication(Request):
    data: Any = Field(None, description="any JSON; required, unless `b64data` holds it")
    b64data: str | None = Field(None, description="the same as base64, and still JSON")
    type: str | None = Field(None, min_length=1, max_length=64)
    key: Text | None = None
    source: Text | None = None
    tags: dict[str, str] | None = Field(None, max_length=32)
    idempotency_key: str | None = Field(None, min_length=1, max_length=128)

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if "data" not in self.model_fields_set and not self.b64data:
            raise ValueError("data is required")
        return self

    def encoded(self) -> bytes:
        """The data as bytes that may be shared.

        Raises:
            Invalid: `b64data` is no base64 of JSON.
        """
        if not self.b64data:
            return json.encode(self.data)  # it went through `parse` with the whole request
        try:
            return json.reencode(b64decode(self.b64data, validate=True))
        except (binascii.Error, ValueError):  # Invalid is one
            raise Invalid("b64data is the base64 of JSON") from None


class PublishRequest(_Publication):
    """Any JSON to any channel. `type`, `key` and `source` are ours, the rest is Centrifugo's."""

    channel: str


class BroadcastRequest(_Publication):
    """The same to many channels."""

    channels: list[str] = Field(min_length=1, max_length=MAX_COMMANDS)


class ChannelRequest(Request):
    """A channel by its name."""

    channel: str


class StreamPosition(Request):
    """A place in a stream; without an epoch one of the current epoch."""

    offset: int = Field(0, ge=0)
    epoch: str = Field("", max_length=16)

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset)


class HistoryRequest(ChannelRequest):
    """A page of what was said; `limit` 0 asks for the position alone, a negative one for all."""

    limit: int = 0
    since: StreamPosition | None = None
    reverse: bool = False


class ChannelsRequest(Request):
    """Channels with subscribers, by a glob such as ``room:*``."""

    pattern: Text = ""


class InfoRequest(Request):
    """No parameters."""


class UserRequest(Request):
    """A user's connections; with `client` that one alone."""

    user: Text
    client: Text = ""
    session: Text = ""


class SubscribeRequest(UserRequest):
    """Put a user on a channel, whatever the channel's own function says."""

    channel: str
    info: Any = None
    recover_since: StreamPosition | None = None
    expire_at: Time = 0
    data: Any = None


class UnsubscribeRequest(UserRequest):
    """Take a user off a channel."""

    channel: str


class Disconnect(Request):
    """How a connection is told to go; 0 is 3503, without coming back."""

    code: int = 0
    reason: str = ""


class DisconnectRequest(UserRequest):
    """Send a user away, but for the clients in `whitelist`."""

    whitelist: list[Text] = Field([], max_length=MAX_LIST)
    disconnect: Disconnect | None = None


class RefreshRequest(UserRequest):
    """Let a user's connections end now (`expired`), or at another time than their tokens say."""

    expired: bool = False
    expire_at: Time = 0


class BlockUserRequest(Request):
    """Send a user away and let it not come back until `expire_at`; 0: until it is unblocked."""

    user: Text
    expire_at: Time = 0


class UnblockUserRequest(Request):
    """Let a user in again."""

    user: Text


class BatchRequest(Request):
    """Commands by the name of their method, one after another, or at once with `parallel`."""

    commands: list[dict[str, Any]] = Field(max_length=MAX_COMMANDS)
    parallel: bool = False
