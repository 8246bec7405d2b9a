"""The devices: raw MQTT 3.1.1 clients in one process, QoS 1 with a window of readings in flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

_CONNACK = b"\x20\x02\x00\x00"
_HOUR = 3600.0


def text(value: str) -> bytes:
    """A string as MQTT has it: its length in two bytes, then UTF-8."""
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def packet(first: int, body: bytes) -> bytes:
    """A control packet; a body has less than 16 KiB here."""
    size = len(body)
    if size < 128:
        return bytes((first, size)) + body
    return bytes((first, size & 0x7F | 0x80, size >> 7)) + body


def _with_id(number: int) -> str:
    return f'"id":"r-{number}"'


def _with_ts(number: int) -> str:
    # A millisecond apart, from an hour ago: as many readings as one likes, and no two alike.
    moment = datetime.fromtimestamp(time.time() - _HOUR + number / 1000, UTC)
    return f'"ts":"{moment.isoformat(timespec="milliseconds")}"'


def _with_neither(_number: int) -> str:
    return '"unit":"C"'


VARIANTS: dict[str, Callable[[int], str]] = {
    "id": _with_id,
    "ts": _with_ts,
    "neither": _with_neither,
}


class Gadget(asyncio.Protocol):
    """One device. The value of a reading is the monotonic microsecond at which it was sent."""

    def __init__(self, device_id: str, key: str, variant: str) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.total = 0
        self.welcome = asyncio.get_running_loop().create_future()
        self.wanted: int | None = 0
        """How many more to send; None: as fast as acknowledgements allow."""
        self.window = 1
        self.last_ack = 0.0
        self._device_id = device_id
        self._key = key
        self._details = VARIANTS[variant]
        self._topic = text(f"aquabook/{device_id}/reading")
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        head = text("MQTT") + bytes((4, 0xC2)) + (600).to_bytes(2, "big")
        login = text(self._device_id) * 2 + text(self._key)
        self._transport.write(packet(0x10, head + login))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.welcome.done():
            self.welcome.set_exception(ConnectionError("no CONNACK"))

    def data_received(self, data: bytes) -> None:
        data = self._held + data
        if not self.welcome.done():
            if data[:4] != _CONNACK:
                self.welcome.set_exception(ConnectionError("refused"))
                return
            self.welcome.set_result(None)
            data = data[4:]
        whole = len(data) & ~3  # all that comes now are PUBACKs of four bytes
        self._held = data[whole:]
        self.acknowledged += whole // 4
        self.last_ack = time.monotonic()
        self.pump()

    def pump(self) -> None:
        """Send what is wanted and fits into the window, in one write."""
        room = self.window - (self.sent - self.acknowledged)
        if self.wanted is not None:
            room = min(room, self.wanted)
            self.wanted -= max(0, room)
        if room <= 0 or self._transport is None:
            return
        value = time.monotonic_ns() // 1000
        packets = []
        for number in range(self.sent, self.sent + room):
            payload = f'{{"metric":"temperature","value":{value},{self._details(number)}}}'
            packet_id = (number % 65_535 + 1).to_bytes(2, "big")
            packets.append(packet(0x32, self._topic + packet_id + payload.encode()))
        self._transport.write(b"".join(packets))
        self.sent += room
        self.total += room * value


class Gadgets:
    """All devices."""

    def __init__(self) -> None:
        self._gadgets: dict[str, Gadget] = {}

    async def connect(self, port: int, keys: dict[str, str], variant: str) -> int:
        """Log in; how many are here then."""
        loop = asyncio.get_running_loop()
        for device_id, key in keys.items():
            _, gadget = await loop.create_connection(
                partial(Gadget, device_id, key, variant), "127.0.0.1", port
            )
            await gadget.welcome
            self._gadgets[device_id] = gadget
        return len(self._gadgets)

    async def flood(self, window: int, seconds: float) -> dict[str, Any]:
        """Keep `window` readings of each device in flight for a while."""
        began, before = time.monotonic(), self._sent()
        for gadget in self._gadgets.values():
            gadget.window, gadget.wanted = window, None
            gadget.pump()
        await asyncio.sleep(seconds)
        for gadget in self._gadgets.values():
            gadget.wanted = 0
        return await self._report(began, before)

    async def pace(self, per_second: float, seconds: float) -> dict[str, Any]:
        """Send at a fixed rate, evenly spread over the devices and over time."""
        gadgets = list(self._gadgets.values())
        for gadget in gadgets:
            gadget.window = 1000
        began, before = time.monotonic(), self._sent()
        count, total = 0, int(per_second * seconds)
        while count < total:
            due = min(total, int((time.monotonic() - began) * per_second))
            for number in range(count, due):
                gadget = gadgets[number % len(gadgets)]
                gadget.wanted = 1
                gadget.pump()
            count = max(count, due)
            await asyncio.sleep(0.001)
        return await self._report(began, before)

    def _sent(self) -> int:
        return sum(gadget.sent for gadget in self._gadgets.values())

    async def _report(self, began: float, before: int) -> dict[str, Any]:
        """`sent` and `acknowledged` are those of this order, `by_device` is since the start."""
        gadgets = self._gadgets.values()
        until = time.monotonic() + 30
        # Polled, so that the path of a PUBACK stays lean.
        while any(g.acknowledged < g.sent for g in gadgets) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return {
            "seconds": max(g.last_ack for g in gadgets) - began,
            "sent": self._sent() - before,
            "acknowledged": sum(g.acknowledged for g in gadgets) - before,
            "by_device": {id: (g.sent, g.total) for id, g in self._gadgets.items()},
        }
