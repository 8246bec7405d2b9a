"""One connection to a broker: paho-mqtt speaks the protocol, asyncio moves the bytes.

Messages are read before paho (see `frames`); it acknowledges them when it is told to, which
is what its `manual_ack` is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

import msgspec

from cardume.errors import Invalid
from cardume.mqtt.codec.reasons import REFUSED
from cardume.mqtt.codec.reasons import Reason as Code
from cardume.mqtt.link.ends import Ended, broken
from cardume.mqtt.link.frames import Cutter, Message, TooBig
from cardume.mqtt.link.url import BrokerAddress
from cardume.mqtt.link.wire import RECEIVE_MAXIMUM, Paho, Reason, Wire
from cardume.mqtt.ports import Inbound

ANSWER_WITHIN: Final = 10.0
"""Seconds for TCP and TLS, and as many again for CONNACK and SUBACK."""
LET_GO: Final = 2.0
"""Seconds that the last bytes may take to go out."""

_PINGRESP: Final = b"\xd0\x00"


class LinkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to speak to a broker."""

    client_id: str
    filters: tuple[str, ...]
    keepalive: int = 10
    """Seconds. Also how late we learn, at most twice that, that a broker does not answer."""
    persistent: bool = True
    """Whether the broker is to keep what we miss."""


class Listening(Protocol):
    """Who wants to know."""

    def on_message(self, message: Message, conversation: Conversation) -> bool:
        """False: pause."""

    def on_too_big(self, message: TooBig) -> None:
        """It was passed over."""


class Conversation(asyncio.Protocol):
    """From TCP's first byte to its last. `subscribed` and `ended` are futures."""

    def __init__(
        self, address: BrokerAddress, options: LinkOptions, listening: Listening, *, v5: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        self.subscribed: asyncio.Future[bool] = loop.create_future()
        """Done when we hear; whether the broker had kept our session."""
        self.ended: asyncio.Future[Ended] = loop.create_future()
        self.heard_at = loop.time()
        """When the broker last sent a byte, in the loop's time."""
        self._tended_at = self.heard_at
        self.v5 = v5
        self.answered = False
        """Whether a CONNACK came, whatever it said."""
        self.paused = False
        self.in_flight = 0
        self._address = address
        self._options = options
        self._listening = listening
        self._loop = loop
        self._cutter = Cutter(v5=v5)
        self._session_present = False
        self._transport: asyncio.Transport
        self._wire: Wire
        self._paho: Paho
        self._sent: dict[int, asyncio.Future[int]] = {}
        self._flushing = False
        self._unkept = 0

    # -- asyncio ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # of uvloop by its ways alone
        self._wire = Wire(self._transport)
        options = self._options
        paho = self._paho = Paho(
            self._wire, options.client_id, v5=self.v5, persistent=options.persistent
        )
        paho.on_connect = self._on_connect
        paho.on_subscribe = self._on_subscribe
        paho.on_disconnect = self._on_disconnect
        paho.on_publish = self._on_publish
        paho.greet(self._address, options.keepalive)
        self._wire.flush()

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        try:
            for packet in self._cutter.feed(data):
                if self.ended.done():
                    return
                if isinstance(packet, Message):
                    self._take(packet)
                elif isinstance(packet, TooBig):
                    self._pass_over(packet)
                else:
                    self._hear(packet)
            self._paho.loop_write()
            self._wire.flush()
        except Invalid as error:
            self.end(Ended(str(error)))

    def pause_writing(self) -> None:
        self._wire.congested = True

    def resume_writing(self) -> None:
        self._wire.congested = False
        if not self.ended.done():
            self._paho.loop_write()
            self._wire.flush()

    def connection_lost(self, error: Exception | None) -> None:
        why = "the broker closed the connection" if error is None else broken(error)
        self.end(Ended(why, hung_up=self.subscribed.done()))

    # -- paho -------------------------------------------------------------------------------

    def _on_connect(
        self, _client: Any, _data: Any, flags: Any, reason: Reason, _properties: Any
    ) -> None:
        self.answered = True
        if reason.is_failure:
            wrong_version = reason.value == Code.UNSUPPORTED_VERSION
            why = f"the broker refused us: {str(reason).lower()}"
            self.end(Ended(why, wrong_version=wrong_version))
            return
        self._session_present = bool(flags.session_present)
        self._paho.subscribe([(topic_filter, 1) for topic_filter in self._options.filters])

    def _on_subscribe(
        self, _client: Any, _data: Any, _id: int, reasons: Sequence[Reason], _properties: Any
    ) -> None:
        refused = [
            topic_filter
            for topic_filter, reason in zip(self._options.filters, reasons, strict=False)
            if reason.value >= REFUSED
        ]
        if refused:
            names = ", ".join(refused)
            self.end(Ended(f"the broker let us in, but lets us not subscribe to {names}"))
        elif not self.subscribed.done():
            self.subscribed.set_result(self._session_present)

    def _on_disconnect(
        self, _client: Any, _data: Any, flags: Any, reason: Reason, _properties: Any
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            taken_over = reason.value == Code.TAKEN_OVER
            self.end(Ended(f"the broker sent us away: {str(reason).lower()}", taken_over))
        else:
            self.end(Ended(f"the connection broke: {str(reason).lower()}"))

    def _on_publish(
        self, _client: Any, _data: Any, packet_id: int, reason: Reason, _properties: Any
    ) -> None:
        answer = self._sent.pop(packet_id, None)
        if answer is not None and not answer.done():
            answer.set_result(reason.value)

    # -- the link ---------------------------------------------------------------------------

    async def enter(self, within: float) -> bool:
        """Wait for the subscription, for so many seconds; False: this has ended without it."""
        either: set[asyncio.Future[Any]] = {self.subscribed, self.ended}
        await asyncio.wait(either, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if self.subscribed.done():
            return True
        self.end(Ended("the broker took our connection and did not answer"))
        return False

    def settle(self, message: Inbound, kept: bool) -> None:
        """Acknowledge what is kept. Not after the end: on the next connection its packet id may
        mean another message. What cannot be kept stays with the broker until then."""
        if self.ended.done() or message.packet_id is None:
            return
        if kept:
            self.acknowledge(message.packet_id)
            return
        self._unkept += 1
        if self._unkept >= RECEIVE_MAXIMUM // 2:
            self.end(Ended(f"{self._unkept} messages could not be handled"))

    def acknowledge(self, packet_id: int) -> None:
        """Tell the broker that we are done with a message."""
        self.in_flight -= 1
        self._paho.ack(packet_id, 1)
        if not self._flushing:  # the acknowledgements of a batch are one write
            self._flushing = True
            self._loop.call_soon(self._flush)

    def publish(
        self, topic: str, payload: bytes, qos: int, expiry: float | None
    ) -> asyncio.Future[int] | None:
        """Hand a message to the broker: the reason code of its PUBACK (0 at QoS 0), if one comes.

        None: it was not handed over, for there is no link now.
        """
        if self.ended.done() or not self.subscribed.done():
            return None
        packet_id = self._paho.send(topic, payload, qos, expiry)
        self._wire.flush()
        if packet_id is None:
            return None
        answer: asyncio.Future[int] = self._loop.create_future()
        if qos:
            self._sent[packet_id] = answer
        else:
            answer.set_result(0)
        return answer

    def pause(self) -> None:
        """Read no more for now."""
        if not self.paused and not self.ended.done():
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self.paused and not self.ended.done():
            self.paused = False
            self._transport.resume_reading()

    def tend(self) -> None:
        """To be called each second: pings, and notices who does not answer."""
        if self.ended.done():
            return
        if self.paused or self.heard_at > self._tended_at:
            # Whoever sends messages is alive, and an answer that we do not read tells nothing.
            self._wire.put(_PINGRESP)
            self._paho.loop_read()
        self._tended_at = self._loop.time()
        self._paho.loop_misc()
        if not self.ended.done():
            self._wire.flush()

    def leave(self) -> None:
        """Say goodbye and close; what is acknowledged goes out first."""
        if not self.ended.done():
            self.ended.set_result(Ended("we left"))
            self._paho.disconnect()
            self._close()

    def end(self, how: Ended) -> None:
        """Close. The first reason is the one that counts."""
        if not self.ended.done():
            self.ended.set_result(how)
            self._close()

    def _close(self) -> None:
        for answer in self._sent.values():
            answer.cancel()
        if not self._wire.closed:
            self._wire.close()
        # A broker that stopped reading would keep the socket open for ever.
        self._loop.call_later(LET_GO, self._transport.abort)

    def _flush(self) -> None:
        self._flushing = False
        if not self._wire.closed:
            self._wire.flush()

    def _hear(self, packet: bytes) -> None:
        self._wire.put(packet)
        try:
            self._paho.loop_read()
        except Exception as error:  # whatever paho does with what no broker sends
            self.end(Ended(f"the broker sent what nobody can read ({type(error).__name__})"))

    def _take(self, message: Message) -> None:
        if message.packet_id is not None:
            self.in_flight += 1
        if not self._listening.on_message(message, self):
            self.pause()

    def _pass_over(self, message: TooBig) -> None:
        self._listening.on_too_big(message)
        if message.packet_id is not None:
            self.in_flight += 1
            self.acknowledge(message.packet_id)
