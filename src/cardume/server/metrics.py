"""`GET /metrics` for Prometheus: the numbers of hub, listener, storage and process.

They are read when somebody asks. No label is a user, a channel or an address: every label has a
small, fixed set of values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from fastapi import APIRouter, HTTPException, Request
from prometheus_client import CollectorRegistry, GCCollector, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

import cardume
from cardume.clock import Clock
from cardume.engines.base import Engine
from cardume.hub.hub import Hub as BareHub
from cardume.hub.outbox import PRESSURE
from cardume.mqtt.listener import ListenerStats
from cardume.server.meters import MeteredEngine, TimedHandshakes, Words
from cardume.transports.fastapi import Hub, current_identity
from cardume.transports.problems import ProblemRoute
from cardume.transports.requests import ApiKey, Bearer, is_key
from cardume.wire import codes

if TYPE_CHECKING:  # it needs paho, which is an extra
    from cardume.mqtt.link.link import LinkStats

_HANDSHAKES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_DELIVERIES = (0.0001, 0.0002, 0.0005, *_HANDSHAKES)


class Waterside(Protocol):
    """What devices do."""

    def mqtt(self) -> ListenerStats: ...

    def hearing(self) -> str:
        """Whether devices are heard: up, resync or down."""

    def link(self) -> LinkStats | None:
        """The link to a broker; None where devices come to the listener."""

    def rejected(self) -> Mapping[str, int]:
        """Readings and messages that were not taken, by reason."""


class Meters:
    """What is measured while it happens, and the registry of all that is shown."""

    def __init__(self, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self.handshakes = Histogram(
            "cardume_handshake_seconds",
            "From a WebSocket's request to its answer (sampled)",
            buckets=_HANDSHAKES,
            registry=self.registry,
        )
        self.deliveries = Histogram(
            "cardume_delivery_seconds",
            "From publishing to having written to every reader that keeps up (sampled)",
            buckets=_DELIVERIES,
            registry=self.registry,
        )

    def engine(self, engine: Engine) -> MeteredEngine:
        """`engine`, counted."""
        return MeteredEngine(engine, self._clock, self.deliveries)

    def around(self, app: ASGIApp) -> TimedHandshakes:
        """`app`, with its handshakes timed."""
        return TimedHandshakes(app, self._clock, self.handshakes)


class Metrics:
    """`/metrics`, for whoever has the API key, or a token of an admin or a service.

    Nobody else, not even on this machine: what a proxy here passes on looks the same.
    """

    def __init__(
        self,
        hub: Hub,
        engine: MeteredEngine,
        meters: Meters,
        *,
        problems: Callable[[], list[str]],
        storage_healthy: Callable[[], bool],
        waterside: Waterside | None,
        api_key: str | None,
    ) -> None:
        self._hub = hub
        self._registry = meters.registry
        self._api_key = api_key or None  # an empty key is no secret
        words = engine.words = Words(hub.namespaces)
        self._registry.register(_HubNumbers(hub, engine, words))
        self._registry.register(_ServerNumbers(hub, problems, storage_healthy))
        if waterside is not None:
            self._registry.register(_WatersideNumbers(waterside))
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self.router = APIRouter(route_class=ProblemRoute, tags=["health"])
        self._route()

    def _route(self) -> None:
        async def metrics(request: Request, _shown: Bearer, key: ApiKey = None) -> Response:
            """Numbers for Prometheus; with the API key, or an admin's or a service's token."""
            await self._check(request, key)
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
            return Response(encode(self._registry), headers={"Content-Type": content_type})

        self.router.add_api_route("/metrics", metrics, response_class=PlainTextResponse)

    async def _check(self, request: Request, key: str | None) -> None:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        # What scrapes most often has a place for a bearer's credentials, and none for a header.
        if scheme.lower() == "bearer" and is_key(shown.strip(), self._api_key):
            return
        if is_key(key, self._api_key):
            return
        identity = await current_identity(request, self._hub, None)
        if not (identity.is_admin or identity.is_service):
            raise HTTPException(403, "the API key, or an admin's or a service's token is needed")


class _HubNumbers(Collector):
    def __init__(self, hub: BareHub, engine: MeteredEngine, words: Words) -> None:
        self._hub = hub
        self._engine = engine
        self._words = words

    def collect(self) -> Iterator[Metric]:
        stats = self._hub.stats
        yield _gauge("connections", "Connections now", stats.active_connections)
        yield _count("connections_opened", "Connections let in", stats.total_connections)
        yield _count("connections_closed", "Connections that ended", stats.total_disconnections)
        closes: Counter[str] = Counter()
        for number, times in stats.closes.items():
            closes["other" if number not in codes.CLOSES else str(number)] += times
        yield _counts("closes", "Closes that the server began", "code", closes)
        yield _count("messages_received", "Messages of clients", stats.messages_received)
        yield _count("messages_sent", "Messages handed to a transport", stats.messages_sent)
        yield _counts(
            "publications", "Accepted publications", "namespace", self._engine.publications
        )
        yield from self._channels()
        yield from self._outboxes(stats.superseded_or_dropped)
        yield _counts("rejects", "What was refused or dropped", "reason", self._hub.rejects.counts)

    def _channels(self) -> Iterator[Metric]:
        channels: Counter[str] = Counter()
        subscriptions: Counter[str] = Counter()
        for name, subscribers in self._hub.channels().items():
            word = self._words.of(name)
            channels[word] += 1
            subscriptions[word] += subscribers
        yield _gauges("channels", "Channels with subscribers", "namespace", channels)
        yield _gauges("subscriptions", "Subscriptions now", "namespace", subscriptions)

    def _outboxes(self, gone: int) -> Iterator[Metric]:
        octets = messages = longest = behind = 0
        for connection in self._hub.connections():
            outbox = connection.outbox
            gone += outbox.superseded + outbox.dropped
            size = outbox.size
            if size:
                octets += size
                messages += len(outbox)
                longest = max(longest, size)
                behind += size > outbox.limit * PRESSURE
        yield _gauge("outbox_bytes", "Bytes that wait for all readers", octets)
        yield _gauge("outbox_messages", "Messages that wait for all readers", messages)
        yield _gauge("outbox_bytes_max", "Bytes that wait for the slowest reader", longest)
        yield _gauge("slow_connections", "Readers behind by a sixteenth of their bound", behind)
        yield _count("dropped", "Queued publications superseded or dropped", gone)


class _ServerNumbers(Collector):
    def __init__(
        self, hub: BareHub, problems: Callable[[], list[str]], storage_healthy: Callable[[], bool]
    ) -> None:
        self._hub = hub
        self._problems = problems
        self._storage_healthy = storage_healthy

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("cardume_build_info", "Which version this is", labels=["version"])
        info.add_metric([cardume.__version__], 1)
        yield info
        yield _gauge("ready", "1: it can do its work", not self._problems())
        yield _gauge("draining", "1: it is shutting down", self._hub.draining)
        yield _gauge("storage_healthy", "1: the last transaction was kept", self._storage_healthy())


class _WatersideNumbers(Collector):
    def __init__(self, waterside: Waterside) -> None:
        self._waterside = waterside

    def collect(self) -> Iterator[Metric]:
        state = self._waterside.hearing()
        hearing = {name: int(name == state) for name in ("up", "resync", "down")}
        yield _gauges("hub_link", "1: the state of the hub's own link", "state", hearing)
        link = self._waterside.link()
        yield from self._listener() if link is None else self._link(link)
        rejected = self._waterside.rejected()
        yield _counts("readings_rejected", "Device messages not taken", "reason", rejected)

    def _link(self, stats: LinkStats) -> Iterator[Metric]:
        yield _gauge("mqtt_link_up", "1: the broker lets us hear", stats.up)
        yield _gauge("mqtt_link_in_flight", "Messages not acknowledged yet", stats.in_flight)
        yield _count("mqtt_link_reconnects", "Links after the first", stats.reconnects)
        yield _count("mqtt_received", "PUBLISH packets of the broker", stats.received)
        yield _count("mqtt_faults", "Unexpected failures", stats.faults)
        yield _counts("mqtt_drops", "Passed over", "reason", stats.drops)

    def _listener(self) -> Iterator[Metric]:
        stats = self._waterside.mqtt()
        yield _gauge("mqtt_connections", "MQTT connections now", stats.connections)
        yield _gauge("mqtt_parked_sessions", "Sessions of clients away", stats.parked_sessions)
        yield _gauge("mqtt_retained_messages", "Retained messages", stats.retained)
        yield _count("mqtt_received", "PUBLISH packets of clients", stats.received)
        yield _count("mqtt_sent", "PUBLISH packets to clients", stats.sent)
        yield _count("mqtt_faults", "Unexpected failures", stats.faults)
        yield _counts("mqtt_drops", "Refused, dropped or cut", "reason", stats.drops)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"cardume_{name}", help, value=float(value))


def _count(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(f"cardume_{name}", help, value=float(value))


def _gauges(name: str, help: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(f"cardume_{name}", help, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family


def _counts(name: str, help: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"cardume_{name}", help, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family
