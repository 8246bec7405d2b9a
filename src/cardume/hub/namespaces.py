"""What a declared channel looks like: its template, its options, who may be on it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from cardume.auth.identity import Identity
from cardume.engines.base import Retention
from cardume.errors import ConfigurationError, Invalid
from cardume.hub.outbox import SlowPolicy
from cardume.wire.messages import RESERVED_TYPES, check_channel, namespace_of

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SIGN = r"[A-Za-z0-9_.@=,~\-]"
_VALUE = f"{_SIGN}+"

Snapshot = Callable[..., Awaitable[Any]]
"""Called with the channel's parameters by name; answers anything with a JSON form, an object."""


class Guard(Protocol):
    """Who may be on a channel: the developer's function, ready to be asked."""

    def convert(self, raw: Mapping[str, str]) -> dict[str, Any]:
        """The channel's parameters in the types that the function declares.

        Raises:
            Refused: one of them does not fit.
        """

    async def check(
        self, identity: Identity, parameters: Mapping[str, Any], scope: Mapping[str, Any]
    ) -> None:
        """Return to allow. `scope` is the ASGI scope of the handshake.

        Raises:
            Refused: not this one.
        """


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """What holds for every channel of a namespace.

    `history` publications are kept, none older than `history_ttl` seconds, of at most
    `history_bytes` between them, counted with type, key, source, tags and 256 bytes each; 0 keeps
    none, and then there are no positions, no resume and no gap detection. A replay is half an
    outbox at most, so more bytes than that serve readers of history alone. A publication of a type
    in `reserved` would be taken for the hub's own word. `client_publish` lets subscribers publish,
    in the dialects that can.

    `presence` says who is there; a member that left is gone `presence_grace` seconds later, or
    was never away. `keyed` keeps the latest publication of each key, `keys` at most, as the
    snapshot of a fresh subscriber; publishing null under a key removes it. `deflate` compresses
    publications for the clients that can read it, once for all of them, on a server of ours.
    """

    history: int = 0
    history_ttl: float = 600.0
    history_bytes: int = 4 * 1024 * 1024
    on_slow: SlowPolicy = SlowPolicy.DISCONNECT
    presence: bool = False
    presence_grace: float = 5.0
    client_publish: bool = False
    keyed: bool = False
    keys: int = 10_000
    deflate: bool = False
    snapshot: Snapshot | None = None
    reserved: frozenset[str] = RESERVED_TYPES

    def __post_init__(self) -> None:
        if self.history < 0 or self.history_ttl <= 0 or self.history_bytes <= 0:
            raise ConfigurationError(
                "history counts publications, history_ttl is in seconds, history_bytes in bytes"
            )
        if self.history and self.on_slow is SlowPolicy.DROP_OLDEST:
            raise ConfigurationError(
                "drop_oldest loses publications that history promises; use conflate or disconnect"
            )

        if self.keyed and (not self.history or self.snapshot is not None or self.keys < 1):
            raise ConfigurationError(
                "keyed needs history, room for one key at least, and no snapshot= beside it"
            )
        if self.presence_grace < 0:
            raise ConfigurationError("presence_grace is in seconds; 0 announces a leave at once")

    @property
    def retention(self) -> Retention | None:
        if not self.history:
            return None
        keys = self.keys if self.keyed else 0
        return Retention(self.history, self.history_ttl, self.history_bytes, keys)


class ChannelTemplate:
    """``room:{room_id}``: between a channel's name and its parameters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.parameters = tuple(_PARAMETER.findall(text))
        self._check()
        parts = _PARAMETER.split(text)
        pattern = "".join(
            f"(?P<{part}>{_value(parts[index + 1 :])})" if index % 2 else re.escape(part)
            for index, part in enumerate(parts)
        )
        self._pattern = re.compile(pattern, re.ASCII)

    def _check(self) -> None:
        try:
            check_channel(_PARAMETER.sub("x", self.text))
        except Invalid as error:
            raise ConfigurationError(f"{self.text!r} is no channel's name: {error}") from None
        if _PARAMETER.search(namespace_of(self.text)):
            raise ConfigurationError(
                f"{self.text!r}: the namespace before the colon is a fixed word"
            )
        if len(set(self.parameters)) < len(self.parameters):
            raise ConfigurationError(f"{self.text!r} names a parameter twice")
        if "}{" in self.text:
            raise ConfigurationError(f"{self.text!r} needs a sign between two parameters")

    @property
    def namespace(self) -> str:
        return namespace_of(self.text)

    def match(self, channel: str) -> dict[str, str] | None:
        """The parameters of `channel`, or None if it is not one of these."""
        match = self._pattern.fullmatch(channel)
        return None if match is None else match.groupdict()

    def fill(self, parameters: Mapping[str, Any]) -> str:
        """The channel's name.

        Raises:
            Invalid: a value has no place in a name, or would read as another channel's.
        """
        values = {name: text_of(parameters[name]) for name in self.parameters}
        channel = check_channel(self.text.format_map(values))
        if self.match(channel) != values:
            raise Invalid("a parameter of the channel holds a sign that separates parameters")
        return channel


def text_of(value: object) -> str:
    """How a parameter's value is written in a channel's name and in an address."""
    return str(value.value if isinstance(value, Enum) else value)


def _value(after: list[str]) -> str:
    """The pattern of a value, given the parts of the template that follow it.

    A value that another one follows ends at the first sign between the two. So a name reads in
    one way only, in one linear pass, whatever the peer put in: two sets of parameters never
    meet on one channel.
    """
    if len(after) == 1:
        return _VALUE
    return f"(?:(?!{re.escape(after[0][0])}){_SIGN})+"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A declared kind of channel."""

    template: ChannelTemplate
    options: ChannelOptions
    guard: Guard


class Namespaces:
    """The declared kinds, by the word before the colon.

    Several templates may share a word if they differ in shape; the first declared wins.
    `fallback` holds for channels that nobody declared; without it they are unknown.
    """

    def __init__(self, fallback: ChannelOptions | None = None) -> None:
        self.fallback = fallback
        self.deflate = fallback is not None and fallback.deflate
        """Whether publications of any are compressed."""
        self._by_word: dict[str, list[Namespace]] = {}

    def add(self, namespace: Namespace) -> None:
        self.deflate |= namespace.options.deflate
        known = self._by_word.setdefault(namespace.template.namespace, [])
        if any(other.template.text == namespace.template.text for other in known):
            raise ConfigurationError(f"channel {namespace.template.text!r} is declared twice")
        known.append(namespace)

    def find(self, channel: str) -> tuple[Namespace, dict[str, str]] | None:
        """The namespace of a channel and the channel's parameters."""
        for namespace in self._by_word.get(namespace_of(channel), ()):
            parameters = namespace.template.match(channel)
            if parameters is not None:
                return namespace, parameters
        return None

    def options(self, channel: str) -> ChannelOptions | None:
        """The options of a channel, or None where it is unknown."""
        found = self.find(channel)
        if found is not None:
            return found[0].options
        # A declared word whose template does not match is a mistake, not another namespace.
        return None if namespace_of(channel) in self._by_word else self.fallback
